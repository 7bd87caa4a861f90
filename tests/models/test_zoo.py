import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from evs_batch.models import loading, zoo
from evs_batch.models.hardware import in_chunks
from evs_batch.models.parts import pad_sides, resize_latents
from evs_batch.models.places import Hub
from evs_batch.spec.errors import ModelError, RecipeError
from evs_batch.tiny import WEIGHTS


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(ModelError, match="did you mean 'tiny'"):
        zoo.t2i_source("tinny")


UNPINNED = {"guoyww/animatediff-motion-adapter-v1-5-3"}  # its commit could not be looked up yet


def test_what_comes_from_the_hub_is_pinned_to_a_commit():
    entries = [entry for table, _ in zoo.ROLES.values() for entry in table.values()]
    hubs = [place for entry in entries for place in zoo.places(entry) if isinstance(place, Hub)]
    assert {hub.repo for hub in hubs if not re.fullmatch("[0-9a-f]{40}", hub.revision)} == UNPINNED
    pinned, moving = zoo.t2i_source("me/mine@0123abc").weights, zoo.t2i_source("me/mine").weights
    assert isinstance(pinned, Hub)
    assert isinstance(moving, Hub)
    assert (pinned.repo, pinned.revision, moving.revision) == ("me/mine", "0123abc", "main")


def test_the_schedules_of_the_two_models_differ():
    t2i, t2v = zoo.scheduler(zoo.t2i_source("tiny"), 50), zoo.scheduler(zoo.t2v_source("tiny"), 20)
    assert float(t2i.alphas_cumprod[381]) == pytest.approx(0.455, abs=1e-3)
    assert float(t2v.alphas_cumprod[381]) == pytest.approx(0.320, abs=1e-3)


def test_an_incomplete_folder_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match="cannot be loaded"):
        loading.load_unet(zoo.t2i_source(str(tmp_path)))


def test_pickled_weights_are_never_read(tmp_path: Path):
    shutil.copytree(WEIGHTS / "unet", tmp_path / "unet")
    weights = next((tmp_path / "unet").glob("*.safetensors"))
    torch.save({}, weights.with_name("diffusion_pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        loading.load_unet(zoo.t2i_source(str(tmp_path)))


def test_the_shipped_weights_are_small():
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) <= 30e6


def test_chunks_have_one_shape_and_lose_nothing():
    shapes = []

    def double(x: torch.Tensor) -> torch.Tensor:
        shapes.append(len(x))
        return x * 2

    x = torch.arange(7.0)
    assert torch.equal(in_chunks(double, 3, x), x * 2)
    assert shapes == [3, 3, 3]


def test_sides_are_padded_with_their_last_pixels():
    frames = torch.arange(6, dtype=torch.uint8).reshape(1, 2, 3, 1)
    assert pad_sides(frames, 4)[0, :, :, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]


@pytest.mark.parametrize(("rate", "size"), [(1.0, (16, 12)), (2.0, (32, 24)), (1.3, (24, 16)), (0.5, (8, 8))])
def test_latents_are_resized_to_sides_that_the_model_can_halve(rate: float, size: tuple[int, int]):
    assert tuple(resize_latents(torch.randn(2, 4, 16, 12), rate, 4).shape[-2:]) == size


@pytest.mark.parametrize("rate", [1.1, 1.25, 1.5, 2.0, 0.5])
def test_resizing_moves_nothing(rate: float):
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    resized = resize_latents(ramp, rate, 4)
    cells = (torch.arange(4, int(32 * rate) - 4) + 0.5) / rate - 0.5
    assert torch.allclose(resized[0, 0, 0, 4 : int(32 * rate) - 4], cells, atol=0.06), "bicubic is not exact on a ramp"


def test_the_grids_of_the_zoo_are_the_papers():
    t2i: Any = zoo.scheduler(zoo.t2i_source("tiny"), 50)
    assert t2i.timesteps[-20:].tolist() == [*range(381, 0, -20)]
    assert zoo.scheduler(zoo.t2v_source("tiny"), 20).timesteps[-5:].tolist() == [249, 199, 149, 99, 49]
    assert (t2i.config.clip_sample, t2i.config.set_alpha_to_one) == (False, False)


def test_a_number_of_steps_that_a_schedule_cannot_divide_is_refused():
    with pytest.raises(RecipeError, match="steps=61"):
        zoo.scheduler(zoo.t2v_source("tiny"), 61)


def test_the_latents_of_a_model_are_as_large_as_the_zoo_says():
    """The scheduler counts bytes by it, in processes that load no model."""
    source = zoo.t2i_source("tiny")
    config: Any = loading.load_vae(source).config
    assert 2 ** (len(config.block_out_channels) - 1) == source.latent_factor_px
