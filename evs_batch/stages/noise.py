"""The noise of a call."""

# F frames of all clips of a call, C latent channels, h/w latent cells

import torch
from torch import Tensor

from evs_batch.algo.noise import frame_generators, frame_noise
from evs_batch.spec.work import Stage
from evs_batch.stages.item import Item


def draw_noise(items: list[Item], stage: Stage, like_FChw: Tensor) -> Tensor:
    """The entry noise of a stage for all frames of a call, in the shape of its latents."""
    _, channels, height, width = like_FChw.shape
    shape = (channels, height, width)
    return torch.cat(
        [
            frame_noise(item.clip.seed, item.clip.id, f"{stage.role}/{stage.visit}", item.rows(stage), shape)
            for item in items
        ]
    ).to(like_FChw.device)


def renoise_generators(items: list[Item], stage: Stage) -> list[torch.Generator]:
    """What a scheduler draws from that adds noise between the steps of a stage, for all frames of a call."""
    return [
        generator
        for item in items
        for generator in frame_generators(
            item.clip.seed, item.clip.id, f"{stage.role}/{stage.visit}/steps", item.rows(stage)
        )
    ]
