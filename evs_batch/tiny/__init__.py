"""The tiny model family: synthetic clips with ground truth, training on a CPU, and the weights that ship.

It proves the method where real weights cannot be had. May import torch, diffusers and transformers, nothing of ours.
A new part gets a builder in `architecture.py` and a loss in `train.py`.
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
