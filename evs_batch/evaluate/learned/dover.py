"""DOVER: quality of a video, from a technical and an aesthetic view of it.

Wu et al., "Exploring Video Quality Assessment on User Generated Contents from Aesthetic and Technical Perspectives",
ICCV 2023. Sampling and fusion: VQAssessment/DOVER, dover/datasets/dover_datasets.py, dover.yml (val-l1080p) and
evaluate_a_set_of_videos.py.
"""

# F frames of the video, T frames of a clip, H/W pixels

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from evs_batch.evaluate.learned import files
from evs_batch.evaluate.learned.frames import imagenet_normalise, need, planes, resize
from evs_batch.evaluate.learned.networks import convnext, swin
from evs_batch.evaluate.learned.weights import device_of, fill, read

SIDE_PX = 224
CLIP_FRAMES = 32
CLIPS = 3  # of the technical view
STEP_FRAMES = 2
FRAGMENT_PX = SIDE_PX // swin.FRAGMENTS
HEAD_WIDTH = 64
# The authors draw places without a seed; ours makes the score a function of the video alone.
SEED = 42

# Means and deviations of both scores over the authors' videos, and the shares of the two views.
TECHNICAL_MEAN, TECHNICAL_DEVIATION, TECHNICAL_SHARE = 0.1107, 0.07355, 0.6104
AESTHETIC_MEAN, AESTHETIC_DEVIATION, AESTHETIC_SHARE = -0.08285, 0.03774, 0.3896
FULL_MARKS = 100


class Dover(nn.Module):
    def __init__(self, technical: swin.Sizes, aesthetic: convnext.Sizes) -> None:
        super().__init__()
        self.technical_backbone = swin.Swin(technical)
        self.technical_head = head(technical.features)
        self.aesthetic_backbone = convnext.ConvNeXt(aesthetic)
        self.aesthetic_head = head(aesthetic.widths[-1])

    def technical(self, clip_3THW: Tensor) -> Tensor:
        return self._mean(self.technical_head, self.technical_backbone(clip_3THW))

    def aesthetic(self, clip_3THW: Tensor) -> Tensor:
        return self._mean(self.aesthetic_head, self.aesthetic_backbone(clip_3THW))

    @staticmethod
    def _mean(head: nn.ModuleDict, features_CTHW: Tensor) -> Tensor:
        return head["fc_last"](nn.functional.gelu(head["fc_hid"](features_CTHW))).mean()


def head(width: int) -> nn.ModuleDict:
    return nn.ModuleDict({"fc_hid": nn.Conv3d(width, HEAD_WIDTH, 1), "fc_last": nn.Conv3d(HEAD_WIDTH, 1, 1)})


def load(
    folder: Path, technical: swin.Sizes = swin.Sizes(), aesthetic: convnext.Sizes = convnext.Sizes()
) -> Callable[[np.ndarray], float]:
    """The metric with the weights of `DOVER.safetensors`."""
    path = files.DOVER.locate(folder)
    # The index of offsets is no weight: Swin files carry it, this network computes it.
    tensors = {name: x for name, x in read(path).items() if not name.endswith("relative_position_index")}
    network = fill(Dover(technical, aesthetic), tensors, path)

    @torch.inference_mode()
    def metric(video_FHW3: np.ndarray) -> float:
        need("dover", video_FHW3, FRAGMENT_PX)
        rng, device = np.random.default_rng(SEED), device_of(network)
        clips = technical_view(video_FHW3, rng, device)
        seen = aesthetic_view(video_FHW3, rng, device)
        technical_score = torch.stack([network.technical(clip) for clip in clips]).mean().item()
        return fuse(technical_score, network.aesthetic(seen).item())

    return metric


def fuse(technical: float, aesthetic: float) -> float:
    """The overall score, 0..100: both scores normalised, weighted, through a sigmoid."""
    x = TECHNICAL_SHARE * (technical - TECHNICAL_MEAN) / TECHNICAL_DEVIATION
    x += AESTHETIC_SHARE * (aesthetic - AESTHETIC_MEAN) / AESTHETIC_DEVIATION
    return FULL_MARKS * (1 + math.tanh(x / 2)) / 2  # the sigmoid, without its overflow


def technical_view(video_FHW3: np.ndarray, rng: np.random.Generator, device: torch.device) -> list[Tensor]:
    """Three clips (3, T, 224, 224) of fragments in full resolution."""
    chosen = sample(len(video_FHW3), CLIPS, CLIP_FRAMES, rng).reshape(CLIPS, CLIP_FRAMES)
    clips = [fragments(planes(video_FHW3[frames], device), rng) for frames in chosen]
    return [imagenet_normalise(clip / 255).transpose(0, 1) for clip in clips]


def aesthetic_view(video_FHW3: np.ndarray, rng: np.random.Generator, device: torch.device) -> Tensor:
    """One clip (3, T, 224, 224) of whole frames, squeezed; of videos under 32 frames, their first one only."""
    frames = sample(len(video_FHW3), CLIP_FRAMES, 1, rng)
    small = resize(planes(video_FHW3[frames], device), SIDE_PX, SIDE_PX).round()
    return imagenet_normalise(small / 255).transpose(0, 1)


def sample(count: int, segments: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """`length` frames, every second one, from somewhere in each segment of a video; past the end, from its start."""
    span = count // segments
    room = span - length * STEP_FRAMES
    starts = np.arange(segments) * span + (rng.integers(room, size=segments) if room > 0 else 0)
    return ((starts[:, None] + np.arange(length) * STEP_FRAMES) % count).ravel()


def fragments(x_TCHW: Tensor, rng: np.random.Generator) -> Tensor:
    """7x7 patches of 32 px, from somewhere in each cell of a grid over the frames, the same places in all of them."""
    # The grid is laid over the size before enlarging, as the authors do it.
    (row_grid, row_jitter), (column_grid, column_jitter) = (cells(size, rng) for size in x_TCHW.shape[-2:])
    tops, lefts = row_grid[:, None] + row_jitter, column_grid + column_jitter
    x = enlarged(x_TCHW)
    rows = [
        torch.cat(
            [x[..., top : top + FRAGMENT_PX, left : left + FRAGMENT_PX] for top, left in zip(*row, strict=True)], -1
        )
        for row in zip(tops, lefts, strict=True)
    ]
    return torch.cat(rows, -2)


def cells(size_px: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where the cells of one axis begin, and how far into each of the 7x7 cells its patch begins."""
    count = swin.FRAGMENTS
    cell = size_px // count
    grid = np.minimum(np.arange(count) * cell, size_px - FRAGMENT_PX)
    room = cell - FRAGMENT_PX
    return grid, rng.integers(room, size=(count, count)) if room > 0 else np.zeros((count, count), int)


def enlarged(x_TCHW: Tensor) -> Tensor:
    """Frames with a side under 224 px, scaled up to it, to whole levels; larger ones as they are."""
    ratio = min(size / SIDE_PX for size in x_TCHW.shape[-2:])
    if ratio >= 1:
        return x_TCHW
    return (interpolate(x_TCHW / 255, scale_factor=1 / ratio, mode="bilinear") * 255).floor()
