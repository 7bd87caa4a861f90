"""The tiny model family: synthetic clips with ground truth, training on a CPU, and the weights that ship.

It proves the method where real weights cannot be had. Training knows `models/`; nothing below `bench/` knows training.
A new part gets a builder in `architecture.py` and a loss in `losses.py`.
"""

from evs_batch.models.zoo import TINY as WEIGHTS

__all__ = ["WEIGHTS"]
