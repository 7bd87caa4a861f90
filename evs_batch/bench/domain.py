"""Clips of the tiny family's domain as measurements need them: clean, degraded, and the motion that is known."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evs_batch.spec.work import Clip
from evs_batch.tiny import clips

FRAMES = 16
NOISE_SEED = 23


@dataclass(frozen=True)
class Sample:
    """One clip of a seed: its clean original, what an enhancer is given, and what it is asked."""

    scene: clips.Scene
    clean: np.ndarray
    degraded: np.ndarray
    clip: Clip

    @cached_property
    def motion(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the content of each frame was in the one before, (F, H, W, 2), and whether that is known."""
        frames = len(self.clean)
        found = [clips.backward_motion(self.scene, frame, frames) for frame in range(frames)]
        return np.stack([source for source, _ in found]), np.stack([inside for _, inside in found])


def sample(seed: int, frames: int = FRAMES) -> Sample:
    """The clip of a seed."""
    scene = clips.scene(seed)
    clean = clips.render(scene, frames)
    asked = Clip(id=str(seed), uri="", prompt=scene.caption, seed=NOISE_SEED)
    return Sample(scene, clean, clips.degrade(clean, seed), asked)
