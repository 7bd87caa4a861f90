"""Noise belongs to frames: a pure function of seed, clip, purpose and frame number."""

# F frames, C latent channels, h/w latent cells

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def frame_noise(seed: int, clip_id: str, purpose: str, frames: Iterable[int], shape: tuple[int, int, int]) -> Tensor:
    """Standard normal noise (F, C, h, w) in fp32; the same in every batch, on every worker and retry."""
    return torch.stack([torch.randn(shape, generator=g) for g in frame_generators(seed, clip_id, purpose, frames)])


def frame_generators(seed: int, clip_id: str, purpose: str, frames: Iterable[int]) -> list[torch.Generator]:
    """Where each frame's noise comes from."""
    names = [f"{seed}/{purpose}/{frame}/{clip_id}".encode() for frame in frames]
    digests = [hashlib.blake2b(name, digest_size=8).digest() for name in names]
    return [torch.Generator().manual_seed(int.from_bytes(digest) >> 1) for digest in digests]
