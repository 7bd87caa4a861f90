"""DINO's vision transformer.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021. Sizes, key names and the
interpolation of positions are those of facebookresearch/dino, vision_transformer.py; the code is our own.
transformers' `ViTModel` is the same network, but interpolates positions to another grid.
"""

# B images, N tokens (the first is CLS), C channels, H/W pixels

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, scaled_dot_product_attention

NORM_EPSILON = 1e-6
MLP_RATIO = 4
GRID_SLACK = 0.1  # DINO adds it to the grid before it divides, against rounding down; it shifts the samples


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """ViT-B/16, unless said otherwise."""

    width: int = 768
    depth: int = 12
    heads: int = 12
    patch_px: int = 16
    grid: int = 14  # patches of a side of the images that it was trained on


class ViT(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + sizes.grid**2, sizes.width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, sizes.width, sizes.patch_px, stride=sizes.patch_px)})
        self.blocks = nn.Sequential(*(Block(sizes) for _ in range(sizes.depth)))
        self.norm = nn.LayerNorm(sizes.width, NORM_EPSILON)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """The CLS features (B, C) of normalised images; what is left of a last patch is cut off."""
        patches = self.patch_embed["proj"](x_B3HW)
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches.flatten(2).mT], 1)
        return self.norm(self.blocks(x + positions(self.pos_embed, x_B3HW.shape[-2], x_B3HW.shape[-1], self.sizes)))[
            :, 0
        ]


class Block(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        self.norm1, self.norm2 = nn.LayerNorm(width, NORM_EPSILON), nn.LayerNorm(width, NORM_EPSILON)
        self.attn = Attention(sizes)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, MLP_RATIO * width), "fc2": nn.Linear(MLP_RATIO * width, width)}
        )

    def forward(self, x_BNC: Tensor) -> Tensor:
        x = x_BNC + self.attn(self.norm1(x_BNC))
        return x + self.mlp["fc2"](gelu(self.mlp["fc1"](self.norm2(x))))


class Attention(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.qkv = nn.Linear(sizes.width, 3 * sizes.width)
        self.proj = nn.Linear(sizes.width, sizes.width)

    def forward(self, x_BNC: Tensor) -> Tensor:
        q, k, v = self.qkv(x_BNC).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def positions(trained_1NC: Tensor, height: int, width: int, sizes: Sizes) -> Tensor:
    """The trained position embeddings, on the grid of patches of an image of this size."""
    high, wide = height // sizes.patch_px, width // sizes.patch_px
    if height == width and high == sizes.grid:
        return trained_1NC
    grid = trained_1NC[:, 1:].mT.unflatten(-1, (sizes.grid, sizes.grid))
    scales = [(count + GRID_SLACK) / sizes.grid for count in (high, wide)]
    grid = interpolate(grid, scale_factor=scales, mode="bicubic")
    return torch.cat([trained_1NC[:, :1], grid.flatten(2).mT], 1)


_NAMES = (
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("embeddings.", ""),
    ("encoder.layer.", "blocks."),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("layernorm", "norm"),
    ("attention.output.dense", "attn.proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
)
_QUERY, _KEY, _VALUE = (f"attention.attention.{part}." for part in ("query", "key", "value"))


def from_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a `ViTModel` on the hub (facebook/dino-vitb16) under DINO's names; its pooler goes unused."""
    single = {n: t for n, t in tensors.items() if "attention.attention" not in n and not n.startswith("pooler.")}
    named = {_renamed(name): tensor for name, tensor in single.items()}
    for name in tensors:
        parts = [name.replace(_QUERY, part) for part in (_QUERY, _KEY, _VALUE)]
        if _QUERY in name and all(part in tensors for part in parts):
            named[_renamed(name.replace(_QUERY, "attn.qkv."))] = torch.cat([tensors[part] for part in parts])
    return named


def _renamed(name: str) -> str:
    for theirs, ours in _NAMES:
        name = name.replace(theirs, ours)
    return name
