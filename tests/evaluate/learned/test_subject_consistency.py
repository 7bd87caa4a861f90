import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ViTConfig, ViTModel

from evs_batch.evaluate.free import subject_consistency
from evs_batch.evaluate.learned.networks.vit import Sizes, ViT, from_transformers, positions
from evs_batch.evaluate.learned.subject_consistency import load, prepare
from evs_batch.spec.errors import ModelError
from tests.conftest import stripes

SMALL = Sizes(width=32, depth=2, heads=2)
FILE = "dino_vitbase16_pretrain.safetensors"
VIDEO = stripes(3, 60, 90)


def test_the_score_of_a_video_is_in_its_range(write_weights):
    assert 0 < load(write_weights(ViT(SMALL), FILE), SMALL)(VIDEO) < 1


def test_equal_frames_are_perfectly_consistent(write_weights):
    still = VIDEO[:1].repeat(4, 0)
    assert load(write_weights(ViT(SMALL), FILE), SMALL)(still) == pytest.approx(1, abs=1e-6)


def test_a_frame_is_judged_alike_whatever_else_is_in_the_video(write_weights):
    metric = load(write_weights(ViT(SMALL), FILE), SMALL)
    alone = metric(VIDEO[:2])
    assert metric(VIDEO[[0, 1, 1]]) == pytest.approx((alone + (alone + 1) / 2) / 2, abs=1e-6)


def test_frames_are_scaled_to_a_short_side_of_224_and_nothing_is_cropped():
    assert prepare(torch.zeros(1, 3, 320, 512)).shape == (1, 3, 224, 358)
    assert prepare(torch.zeros(1, 3, 90, 60)).shape == (1, 3, 336, 224)


def test_pixels_are_put_to_unit_range_and_then_normalised_as_for_imagenet():
    grey = prepare(torch.full((1, 3, 224, 224), 255 * 0.5))
    expected = (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(grey[0, :, 100, 100], expected)


def test_it_is_the_network_that_transformers_has(tmp_path):
    config = ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128)
    config.layer_norm_eps = 1e-6
    theirs = ViTModel(config).eval()
    theirs.save_pretrained(tmp_path / "dino-vitb16")
    square = stripes(3, 224, 224)
    with torch.no_grad():
        seen = prepare(torch.from_numpy(square).permute(0, 3, 1, 2).float())
        expected = subject_consistency(theirs(seen).last_hidden_state[:, 0].numpy())
    assert load(tmp_path, SMALL)(square) == pytest.approx(expected, abs=1e-5)

    named = from_transformers(load_file(tmp_path / "dino-vitb16" / "model.safetensors"))
    (tmp_path / "published").mkdir()
    save_file(named, tmp_path / "published" / FILE)
    assert load(tmp_path / "published", SMALL)(square) == load(tmp_path, SMALL)(square)


def test_positions_stay_on_the_trained_grid_and_are_spread_over_others():
    trained = torch.arange(1 + 14**2).float().view(1, -1, 1).repeat(1, 1, 2)
    assert positions(trained, 224, 224, SMALL) is trained
    wide = positions(trained, 224, 358, SMALL)
    assert wide.shape == (1, 1 + 14 * 22, 2)
    assert (wide[0, 0] == trained[0, 0]).all()
    assert (wide[0, 1:, 0].view(14, 22).diff(dim=1) > 0).all()
    # As in DINO: the same grid, but of a frame that is not square, is sampled anew, at 14.1 / 14 of the steps.
    assert not torch.equal(positions(trained, 224, 230, SMALL), trained)


def test_a_single_frame_has_no_score(write_weights):
    assert math.isnan(load(write_weights(ViT(SMALL), FILE), SMALL)(VIDEO[:1]))


def test_another_size_of_dino_is_refused(write_weights):
    with pytest.raises(ModelError, match="tensors differ from the layout of the published file"):
        load(write_weights(ViT(Sizes(width=48, depth=2, heads=2)), FILE), SMALL)
