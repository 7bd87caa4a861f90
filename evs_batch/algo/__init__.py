"""EVS beside the paper's pseudo-code: noise, switches, windows, and the moves of Algorithm 1.

May import torch only (and `spec`). Functions of tensors and of two kinds of callables: a model,
`model(z_FChw, t) -> output_FChw`, and a diffusers scheduler, which keeps state: a fresh one for every move.
F counts the frames of all clips of a call.
"""
