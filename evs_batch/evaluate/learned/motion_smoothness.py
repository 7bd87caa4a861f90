"""Motion smoothness: how well the frames between others can be foretold from them.

VBench (Huang et al., CVPR 2024), Vchitect/VBench, vbench/motion_smoothness.py, with AMT-S.
"""

# F frames, H/W pixels

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from evs_batch.evaluate.learned import files
from evs_batch.evaluate.learned.frames import need, planes
from evs_batch.evaluate.learned.networks import amt
from evs_batch.evaluate.learned.weights import device_of, fill, read

Interpolate = Callable[[Tensor, Tensor], Tensor]

MIN_SIDE_PX = 113  # padded to 128; below, AMT's coarsest level of matches is one cell, and it divides by zero


def load(folder: Path) -> Callable[[np.ndarray], float]:
    """The metric with the weights of `amt-s.safetensors`."""
    path = files.AMT.locate(folder)
    network = fill(amt.AMT(), read(path), path)

    @torch.inference_mode()
    def metric(video_FHW3: np.ndarray) -> float:
        need("motion_smoothness", video_FHW3, MIN_SIDE_PX)
        return motion_smoothness(video_FHW3, network, device_of(network))

    return metric


def motion_smoothness(
    video_FHW3: np.ndarray, interpolate: Interpolate, device: torch.device = torch.device("cpu")
) -> float:
    """(255 - d) / 255 in 0..1, d the mean absolute difference of odd frames to what their neighbours foretell.

    `interpolate` gets two unit-range (1, 3, H, W) frames. A last frame without a right neighbour is not judged; nan if
    none is.
    """
    _, height, width, _ = video_FHW3.shape
    left, right, top, bottom = margins(height, width)
    differences = []
    for at in range(1, len(video_FHW3) - 1, 2):
        before, now, after = planes(video_FHW3[at - 1 : at + 2], device).split(1)
        ends = (pad(frame / 255, (left, right, top, bottom), mode="replicate") for frame in (before, after))
        between = interpolate(*ends)[..., top : top + height, left : left + width]
        # VBench compares whole levels, and cuts off the foretold ones instead of rounding them.
        differences.append(((between * 255).floor() - now).abs().mean().item())
    return (255 - float(np.mean(differences))) / 255 if differences else math.nan


def margins(height: int, width: int) -> tuple[int, int, int, int]:
    """Left, right, top and bottom padding to multiples of the network's stride; the odd pixel goes right and below."""
    wide, high = -width % amt.STRIDE_PX, -height % amt.STRIDE_PX
    return wide // 2, wide - wide // 2, high // 2, high - high // 2
