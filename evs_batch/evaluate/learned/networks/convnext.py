"""ConvNeXt-3D, DOVER's eye for aesthetic quality.

Liu et al., "A ConvNet for the 2020s", CVPR 2022, inflated in time. Sizes and key names are those of
VQAssessment/DOVER, dover/models/conv_backbone.py (`convnext_3d_tiny`); the code is our own.
"""

# T frames, H/W cells, C channels

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

NORM_EPSILON = 1e-6
MLP_RATIO = 4
REACH_FRAMES = (1, 3, 1)  # of the blocks of a stage, over and over
STEM = (2, 4, 4)  # frames, px, px
DOWN = (1, 2, 2)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """ConvNeXt-tiny, unless said otherwise."""

    widths: tuple[int, ...] = (96, 192, 384, 768)
    depths: tuple[int, ...] = (3, 3, 9, 3)


class ConvNeXt(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        widths = sizes.widths
        stem = nn.Sequential(nn.Conv3d(3, widths[0], STEM, stride=STEM), ChannelNorm(widths[0]))
        downs = (
            nn.Sequential(ChannelNorm(before), nn.Conv3d(before, after, DOWN, stride=DOWN))
            for before, after in pairwise(widths)
        )
        self.downsample_layers = nn.ModuleList([stem, *downs])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, REACH_FRAMES[at % len(REACH_FRAMES)]) for at in range(depth)))
            for width, depth in zip(widths, sizes.depths, strict=True)
        )
        self.norm = ChannelNorm(widths[-1])

    def forward(self, clip_3THW: Tensor) -> Tensor:
        """Features (C, T, H, W) of a normalised clip."""
        x = clip_3THW[None]
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        return self.norm(x)[0]


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (1, C, T, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, NORM_EPSILON)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class Block(nn.Module):
    def __init__(self, width: int, frames: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv3d(width, width, (frames, 7, 7), padding=(frames // 2, 3, 3), groups=width)
        self.norm = nn.LayerNorm(width, NORM_EPSILON)
        self.pwconv1 = nn.Linear(width, MLP_RATIO * width)
        self.pwconv2 = nn.Linear(MLP_RATIO * width, width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x_1CTHW: Tensor) -> Tensor:
        x = self.norm(self.dwconv(x_1CTHW).movedim(1, -1))
        return x_1CTHW + (self.gamma * self.pwconv2(gelu(self.pwconv1(x)))).movedim(-1, 1)
