"""Training data of the tiny family: clips rendered once into a memory-mapped file, latents computed once."""

# N clips, F frames, H/W pixels or latent cells, C latent channels

import hashlib
import multiprocessing
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evs_batch.models.hardware import multiplies_bf16
from evs_batch.tiny import clips

FRAMES = 16
FEW = 16  # clips that are rendered before other processes have started


def render_clips(path: Path, count: int, shown: Sequence[int] = range(FRAMES), scale: int = 1) -> np.ndarray:
    """Frames `shown` of training clips, (N, F, H, W, 3) uint8: rendered on all cores once, mapped from `path` later."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".partial")
        shape = (count, len(shown), clips.SIZE_PX * scale, clips.SIZE_PX * scale, 3)
        pool_NFHW3 = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=shape)
        render = partial(_render_training_clip, shown, scale)
        with multiprocessing.get_context("spawn").Pool() if count > FEW else nullcontext() as workers:
            made = workers.imap(render, range(count), chunksize=8) if workers else map(render, range(count))
            for index, clip in enumerate(made):
                pool_NFHW3[index] = clip
        pool_NFHW3.flush()
        unfinished.rename(path)
    return np.load(path, mmap_mode="r")


def captions(count: int) -> list[str]:
    """The captions of the training clips, in their order."""
    return [clips.scene(clips.TRAIN_SEEDS[index]).caption for index in range(count)]


@torch.no_grad()
def encode_clips(
    path: Path,
    vae: Any,
    clips_NFHW3: np.ndarray,
    change: Callable[[np.ndarray, int], np.ndarray] = lambda clip, _: clip,
) -> Tensor:
    """Latents (N, F, C, h, w) in bf16, of the clips as they are or changed; kept by `path` and the VAE's hash.

    `change` gets a clip and its number.
    """
    weights = hashlib.blake2b(
        b"".join(p.detach().cpu().numpy().tobytes() for p in vae.parameters()), digest_size=4
    ).hexdigest()
    path = path.with_stem(f"{path.stem}-{weights}")
    if path.exists():
        return torch.load(path, weights_only=True)
    latents = []
    for number, clip_FHW3 in enumerate(clips_NFHW3):
        x_F3HW = to_signed(change(clip_FHW3, number)).to(vae.device)
        with torch.autocast(vae.device.type, torch.bfloat16, enabled=multiplies_bf16(vae.device)):
            latents.append(vae.encode(x_F3HW).latents.bfloat16().cpu())
    latents_NFChw = torch.stack(latents) * vae.config["scaling_factor"]
    torch.save(latents_NFChw, path.with_suffix(".partial"))
    path.with_suffix(".partial").rename(path)
    return latents_NFChw


def to_signed(frames_FHW3: np.ndarray) -> Tensor:
    """uint8 pictures to (F, 3, H, W) float32 in -1..1."""
    return torch.from_numpy(np.array(frames_FHW3)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _render_training_clip(shown: Sequence[int], scale: int, index: int) -> np.ndarray:
    scene = clips.scene(clips.TRAIN_SEEDS[index])
    return np.stack([clips.draw(scene, frame, FRAMES, scale=scale) for frame in shown])
