"""Clips of any length under a motion module of fixed width: overlapping windows, blended with ramps.

Model outputs are blended, not clean latents: x0 is linear in the output for a given z, so both give the same, and a
windowed model is a model like any other.
"""

# F frames of a clip, W windows, K frames of a window, C latent channels, h/w latent cells

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """Frame numbers that one window shows (reflected at the end of a short clip) and the weight of each."""

    frames_K: Tensor
    weights_K: Tensor


def plan_windows(frames: int, width: int, overlap: int) -> list[Window]:
    """Windows of `width` frames that cover a clip; the last one ends at the clip's end."""
    if frames <= width:
        padded = reflect(torch.arange(width), frames)
        return [Window(padded, (torch.arange(width) < frames).float())]
    stride = width - overlap
    starts = [*range(0, frames - width, stride), frames - width]
    return [Window(torch.arange(start, start + width), _ramp(start, frames, width, overlap)) for start in starts]


def reflect(index: Tensor, length: int) -> Tensor:
    """Fold frame numbers into 0..length-1 by reflection without repeating the ends."""
    period = max(1, 2 * (length - 1))
    folded = index % period
    return torch.minimum(folded, period - folded)


def windowed(
    model: Callable[[Tensor, Tensor, list[int]], Tensor], lengths: list[int], width: int, overlap: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """A model of all frames of several clips from `model(z_WKChw, t, clip_of_window)`, which sees windows."""
    plans = [plan_windows(frames, width, overlap) for frames in lengths]
    offsets = [sum(lengths[:clip]) for clip in range(len(lengths))]
    index_WK = torch.stack([w.frames_K + at for at, plan in zip(offsets, plans, strict=True) for w in plan])
    weight_WK = torch.stack([w.weights_K for plan in plans for w in plan])
    clip_of_window = [clip for clip, plan in enumerate(plans) for _ in plan]

    def predict(z_FChw: Tensor, t: Tensor) -> Tensor:
        index, weight = index_WK.to(z_FChw.device), weight_WK.to(z_FChw)
        output_WKChw = model(z_FChw[index], t, clip_of_window).to(z_FChw.dtype)
        total = torch.zeros_like(z_FChw)
        total.index_add_(0, index.flatten(), (output_WKChw * weight[:, :, None, None, None]).flatten(0, 1))
        share = torch.zeros_like(z_FChw[:, 0, 0, 0]).index_add_(0, index.flatten(), weight.flatten())
        return total / share[:, None, None, None]

    return predict


def _ramp(start: int, frames: int, width: int, overlap: int) -> Tensor:
    """Weights that rise and fall linearly over the overlap, but not at the ends of the clip."""
    position = torch.arange(width)
    rise = ((position + 1) / (overlap + 1)).clamp(max=1.0)
    ones = torch.ones(width)
    return torch.minimum(ones if start == 0 else rise, ones if start + width == frames else rise.flip(0))
