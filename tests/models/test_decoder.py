"""Another decoder than the T2I's own: smaller ones for the same latents."""

from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

from evs_batch.evaluate import psnr
from evs_batch.models import loading, zoo
from evs_batch.models.needs import needed
from evs_batch.models.places import Hub
from evs_batch.spec.errors import ModelError, RecipeError
from evs_batch.spec.recipe import Recipe
from evs_batch.stages.inline import enhance
from evs_batch.store.recipes import load_recipe
from evs_batch.tiny import WEIGHTS, clips
from tests.models import checkpoints


def recipe(*changes: str) -> Recipe:
    """Encode and decode only."""
    return load_recipe("demo", ["composition=VAE", "runtime.precision=fp32", *changes])


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return clips.render(clips.scene(clips.HELD_OUT_SEEDS[0]), 2)


def test_the_small_decoder_of_the_tiny_family_makes_nearly_the_same_pictures(clean: np.ndarray):
    own, small = enhance(clean, "", recipe()), enhance(clean, "", recipe("t2i.decoder=tiny-decoder"))
    assert psnr(small, clean) > psnr(own, clean) - 2
    assert 38 < psnr(small, own) < 60


def test_a_folder_with_the_same_decoder_makes_the_same_pictures(clean: np.ndarray):
    same = enhance(clean, "", recipe(f"t2i.decoder={WEIGHTS / 'vae'}"))
    assert np.array_equal(same, enhance(clean, "", recipe()))


def test_taesd_is_given_latents_as_published(clean: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its decoder takes Stable Diffusion's scaled latents as they are."""
    place = zoo.DECODERS["TAESD"].weights
    assert isinstance(place, Hub)
    torch.manual_seed(0)
    small = AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4)
    small.save_pretrained(tmp_path / "taesd")
    checkpoints.put_in_cache(tmp_path / "hub", place.repo, tmp_path / "taesd", place.revision)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = checkpoints.diffusers_folder(tmp_path / "sd")
    own = loading.load_vae(zoo.t2i_source(str(folder)))
    x_F3HW = torch.from_numpy(clean).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        z_FChw = own.encode(x_F3HW).latent_dist.mode() * own.config["scaling_factor"]
        y_F3HW = small.decode(z_FChw).sample.clamp(-1, 1)
    expected = ((y_F3HW + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert psnr(enhance(clean, "", recipe(f"t2i.model={folder}", "t2i.decoder=TAESD")), expected) > 60


def test_a_decoder_of_another_family_is_refused_before_anything_starts():
    with pytest.raises(RecipeError, match=r"t2i\.decoder='TAESD'.*family tiny.*set t2i\.decoder = 'tiny-decoder'"):
        needed(recipe("t2i.decoder=TAESD"))
    with pytest.raises(RecipeError, match=r"family sdxl.*leave it out"):
        needed(recipe("t2i.model=SDXL", "t2i.decoder=TAESD"))


def test_an_unknown_decoder_names_the_nearest():
    with pytest.raises(ModelError, match=r"t2i\.decoder='TAESDD'.*did you mean 'TAESD'"):
        needed(recipe("t2i.decoder=TAESDD"))


def test_a_decoder_that_is_not_here_is_said_with_the_command_that_gets_it():
    with pytest.raises(ModelError, match="evs-batch models fetch TAESD"):
        zoo.locate_all(zoo.DECODERS["TAESD"])
    with pytest.raises(ModelError, match="evs-batch models fetch --role decoder me/mine"):
        zoo.locate_all(zoo.decoder_source("me/mine", zoo.t2i_source("SD")))


def test_a_decoder_of_cells_of_another_size_is_refused(clean: np.ndarray, tmp_path: Path):
    AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4).save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match="4 channels of cells of 4 pixels"):
        enhance(clean, "", recipe(f"t2i.decoder={tmp_path}"))
