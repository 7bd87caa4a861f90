"""Swin-3D with gated relative position biases, DOVER's eye for technical quality.

Liu et al., "Video Swin Transformer", CVPR 2022; gates: Wu et al., "FAST-VQA", ECCV 2022, section 3.3. Sizes and key
names are those of VQAssessment/DOVER, dover/models/swin_backbone.py (`swin_tiny_grpb`); the code is our own.
torchvision's `swin3d_t` has no gates and other names.
"""

# T frames of tokens, H/W tokens, C channels; V windows, N tokens of a window, A attention heads

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

PATCH = (2, 4, 4)  # frames, px, px
WINDOW = (8, 7, 7)  # tokens
MLP_RATIO = 4
FRAGMENTS = 7  # of a side of the image
FORBIDDEN = -100.0  # added to attention between tokens that only the cyclic shift made neighbours


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Swin-tiny, unless said otherwise; all stages are gated but the last, where a window is the whole image."""

    width: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)

    @property
    def features(self) -> int:
        return self.width * 2 ** (len(self.depths) - 1)


class Swin(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        embed = nn.Conv3d(3, width, PATCH, stride=PATCH)
        self.patch_embed = nn.ModuleDict({"proj": embed, "norm": nn.LayerNorm(width)})
        last = len(sizes.depths) - 1
        self.layers = nn.ModuleList(
            Stage(width * 2**at, depth, heads, at < last)
            for at, (depth, heads) in enumerate(zip(sizes.depths, sizes.heads, strict=True))
        )
        self.norm = nn.LayerNorm(sizes.features)

    def forward(self, clip_3THW: Tensor) -> Tensor:
        """Features (C, T, H, W) of a normalised clip of 32 frames of 224x224 px."""
        x = self.patch_embed["norm"](self.patch_embed["proj"](clip_3THW[None])[0].permute(1, 2, 3, 0))
        for stage in self.layers:
            x = stage(x)
        return self.norm(x).permute(3, 0, 1, 2)


class Stage(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, goes_on: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(width, heads, goes_on, at % 2 == 1) for at in range(depth)))
        self.downsample = Merge(width) if goes_on else None

    def forward(self, x_THWC: Tensor) -> Tensor:
        x = self.blocks(x_THWC)
        return self.downsample(x) if self.downsample else x


class Merge(nn.Module):
    """Halve height and width, double the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x_THWC: Tensor) -> Tensor:
        corners = [x_THWC[:, row::2, column::2] for column, row in product((0, 1), (0, 1))]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, gated: bool, shifted: bool) -> None:
        super().__init__()
        self.shifted = shifted
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, gated)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, MLP_RATIO * width), "fc2": nn.Linear(MLP_RATIO * width, width)}
        )

    def forward(self, x_THWC: Tensor) -> Tensor:
        size = tuple(x_THWC.shape[:3])
        # An axis that is one window long is not shifted.
        shift = tuple(w // 2 if self.shifted and n > w else 0 for n, w in zip(size, WINDOW, strict=True))
        back = tuple(-s for s in shift)
        seen = self.attn(into_windows(self.norm1(x_THWC).roll(back, (0, 1, 2))), size, shift)
        x = x_THWC + out_of_windows(seen, size).roll(shift, (0, 1, 2))
        return x + self.mlp["fc2"](gelu(self.mlp["fc1"](self.norm2(x))))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, gated: bool) -> None:
        super().__init__()
        self.heads = heads
        offsets = (2 * WINDOW[0] - 1) * (2 * WINDOW[1] - 1) * (2 * WINDOW[2] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(offsets, heads))
        self.fragment_position_bias_table = nn.Parameter(torch.zeros(offsets, heads)) if gated else None
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_VNC: Tensor, size: tuple[int, ...], shift: tuple[int, ...]) -> Tensor:
        q, k, v = self.qkv(x_VNC).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self._bias(size, shift)
        if any(shift):
            bias = bias + FORBIDDEN * between_regions(size, shift).to(x_VNC)[:, None]
        return self.proj(scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).flatten(2))

    def _bias(self, size: tuple[int, ...], shift: tuple[int, ...]) -> Tensor:
        index_NN = offset_index().to(self.proj.weight.device)
        across = self.relative_position_bias_table[index_NN].permute(2, 0, 1)
        if self.fragment_position_bias_table is None:
            return across[None]
        within = self.fragment_position_bias_table[index_NN].permute(2, 0, 1)
        gate = between_fragments(size, shift).to(across)[:, None]
        return within.lerp(across, gate)


def into_windows(x_THWC: Tensor) -> Tensor:
    """(V, N, C) of (T, H, W, C)."""
    t, h, w = WINDOW
    x = x_THWC.unflatten(2, (-1, w)).unflatten(1, (-1, h)).unflatten(0, (-1, t))
    return x.permute(0, 2, 4, 1, 3, 5, 6).flatten(3, 5).flatten(0, 2)


def out_of_windows(x_VNC: Tensor, size: tuple[int, ...]) -> Tensor:
    """The inverse of `into_windows`."""
    counts = [n // w for n, w in zip(size, WINDOW, strict=True)]
    x = x_VNC.unflatten(1, WINDOW).unflatten(0, counts).permute(0, 3, 1, 4, 2, 5, 6)
    return x.flatten(4, 5).flatten(2, 3).flatten(0, 1)


@lru_cache
def offset_index() -> Tensor:
    """Which row of a bias table holds the offset from one token of a window to another: (N, N)."""
    tokens_N3 = torch.cartesian_prod(*(torch.arange(w) for w in WINDOW))
    offsets_NN3 = tokens_N3[:, None] - tokens_N3 + torch.tensor(WINDOW) - 1
    rows, columns = 2 * WINDOW[1] - 1, 2 * WINDOW[2] - 1
    return (offsets_NN3[..., 0] * rows + offsets_NN3[..., 1]) * columns + offsets_NN3[..., 2]


@lru_cache
def between_fragments(size: tuple[int, ...], shift: tuple[int, ...]) -> Tensor:
    """The gate of two tokens of a window: how many fragments lie from one to the other, by rows and columns: (V, N, N).

    The paper's gate is 0 or 1; the published code, and so the weights, have 2 for diagonal neighbours.
    """
    _, high, wide = size
    row, column = (torch.arange(n) * FRAGMENTS // n for n in (high, wide))
    place_THW2 = torch.stack(torch.meshgrid(row, column, indexing="ij"), -1).expand(*size, 2)
    place_VN2 = into_windows(place_THW2.roll([-s for s in shift], (0, 1, 2))).to(torch.int8)
    return (place_VN2[:, :, None] - place_VN2[:, None]).abs().sum(-1, dtype=torch.int8)


@lru_cache
def between_regions(size: tuple[int, ...], shift: tuple[int, ...]) -> Tensor:
    """Whether two tokens of a shifted window come from opposite borders: (V, N, N)."""
    last, wrapped = ([torch.arange(n) >= n - by for n, by in zip(size, w, strict=True)] for w in (WINDOW, shift))
    axes = [3**at * (x.to(torch.int8) + y) for at, (x, y) in enumerate(zip(last, wrapped, strict=True))]
    region_VN = into_windows((axes[0][:, None, None] + axes[1][:, None] + axes[2])[..., None])[..., 0]
    return region_VN[:, :, None] != region_VN[:, None]
