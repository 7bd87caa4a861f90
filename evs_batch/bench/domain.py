"""Clips of the tiny family's domain as measurements need them: clean, degraded, and the motion that is known."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as nnf

from evs_batch.spec.work import Clip
from evs_batch.tiny import clips

FRAMES = 16
NOISE_SEED = 23


@dataclass(frozen=True)
class Sample:
    """One clip of a seed: its clean original, what an enhancer is given, and what it is asked.

    The original is `scale` times as large as what is given; `source` is what is given, at the size of the original.
    """

    scene: clips.Scene
    clean: np.ndarray
    degraded: np.ndarray
    clip: Clip
    scale: int = 1

    @cached_property
    def source(self) -> np.ndarray:
        if self.scale == 1:
            return self.degraded
        x_F3HW = torch.tensor(self.degraded).permute(0, 3, 1, 2).float() / 255
        return clips.to_uint8(nnf.interpolate(x_F3HW, scale_factor=self.scale, mode="bicubic", align_corners=False))

    @cached_property
    def motion(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the content of each frame was in the one before, (F, H, W, 2), and whether that is known."""
        frames = len(self.clean)
        found = [clips.backward_motion(self.scene, frame, frames, scale=self.scale) for frame in range(frames)]
        return np.stack([source for source, _ in found]), np.stack([inside for _, inside in found])


def sample(seed: int, frames: int = FRAMES, scale: int = 1) -> Sample:
    """The clip of a seed."""
    scene = clips.scene(seed)
    asked = Clip(id=str(seed), uri="", prompt=scene.caption, seed=NOISE_SEED)
    small = clips.render(scene, frames)
    clean = small if scale == 1 else clips.render(scene, frames, scale=scale)
    return Sample(scene, clean, clips.degrade(small, seed), asked, scale)
