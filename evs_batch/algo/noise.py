"""Noise belongs to frames: a pure function of seed, clip, purpose and frame number."""

# F frames, C latent channels, h/w latent cells

import hashlib

import torch
from torch import Tensor


def frame_noise(seed: int, clip_id: str, purpose: str, frames: range, shape: tuple[int, int, int]) -> Tensor:
    """Standard normal noise (F, C, h, w) in fp32; the same in every batch, on every worker and retry."""
    return torch.stack([_noise(seed, clip_id, purpose, frame, shape) for frame in frames])


def _noise(seed: int, clip_id: str, purpose: str, frame: int, shape: tuple[int, int, int]) -> Tensor:
    name = f"{seed}/{purpose}/{frame}/{clip_id}".encode()
    number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest()) >> 1
    return torch.randn(shape, generator=torch.Generator().manual_seed(number))
