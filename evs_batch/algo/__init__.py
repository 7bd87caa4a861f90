"""EVS beside the paper's pseudo-code: noise, switches, windows, and the three moves of Algorithm 1.

May import torch only (and `spec`). Everything is a pure function of tensors and of two kinds of callables:
a model, `model(z_FChw, t) -> output_FChw`, and a diffusers scheduler. F counts the frames of all clips of a call.
"""
