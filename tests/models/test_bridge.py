"""Pairs whose autoencoders differ: the tiny T2I at a quarter, a T2V of Stable Diffusion's layout at an eighth."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evs_batch.evaluate import psnr
from evs_batch.models import loading, zoo
from evs_batch.models.bridge import PixelBridge
from evs_batch.models.hardware import Hardware
from evs_batch.models.parts import Vae
from evs_batch.spec.errors import RecipeError
from evs_batch.spec.recipe import load_recipe
from evs_batch.stages.inline import enhance, load_enhancer
from evs_batch.tiny import clips
from tests.models import checkpoints

CPU = Hardware(torch.device("cpu"), torch.float32)


class Halves(Vae):
    """Another autoencoder than the tiny one: pictures at half the size, their colours and one empty channel."""

    def __init__(self) -> None:
        self.factor_px, self.channels = 2, 4

    def encode(self, frames_FHW3: torch.Tensor) -> torch.Tensor:
        x_F3HW = frames_FHW3.permute(0, 3, 1, 2).float() / 127.5 - 1
        small = torch.nn.functional.avg_pool2d(x_F3HW, 2)
        return torch.cat([small, torch.zeros_like(small[:, :1])], 1)

    def decode(self, z_FChw: torch.Tensor) -> torch.Tensor:
        x_F3HW = z_FChw[:, :3].repeat_interleave(2, -1).repeat_interleave(2, -2)
        return ((x_F3HW + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def test_a_clip_crosses_the_bridge_and_comes_back():
    tiny = Vae(loading.load_vae(zoo.t2i_source("tiny")), CPU)
    clean = clips.render(clips.scene(3), 2)[:, :100, :116]
    bridge = PixelBridge(tiny, Halves(), multiple=8)
    z = tiny.encode(torch.tensor(clean))
    other = bridge.into(z)
    assert other.shape[-2:] == bridge.size(25, 29) == (56, 64), "padded to what a U-Net can halve three times"
    back = bridge.back(other, 25, 29)
    assert back.shape == z.shape
    assert psnr(tiny.decode(back).numpy(), tiny.decode(z).numpy()) > 24, "half of the resolution is lost, no more"


def test_latents_may_not_pass_between_families():
    with pytest.raises(RecipeError, match=r"'tiny' with t2v.model='lightningEP': do not share.*t2v\.bridge = 'pixels'"):
        zoo.check_pair(zoo.t2i_source("tiny"), zoo.t2v_source("lightningEP"), "latents")
    with pytest.raises(RecipeError, match="do not share an autoencoder"):
        load_enhancer(load_recipe("demo", ["t2v.model=lightningEP"]))
    zoo.check_pair(zoo.t2i_source("tiny"), zoo.t2v_source("lightningEP"), "pixels")
    zoo.check_pair(zoo.t2i_source("EP"), zoo.t2v_source("lightningSD"), "latents")


def test_a_clip_is_enhanced_by_a_pair_of_two_autoencoders(tmp_path: Path):
    base, motion = checkpoints.diffusers_folder(tmp_path / "base"), checkpoints.motion_folder(tmp_path / "motion")
    settings = [f"t2v.model='{motion}'", f"t2v.base='{base}'", "t2v.bridge=pixels", "t2v.switch_at=[2]"]
    recipe = load_recipe("demo", settings)
    frames = clips.render(clips.scene(3), 5)[:, :60, :100]
    made = enhance(frames, "a red star", recipe)
    assert made.shape == frames.shape
    other: Any = enhance(frames, "a red star", load_recipe("demo", [*settings, "t2v.strength=0.3"]))
    assert not np.array_equal(made, other), "the T2V was there"
