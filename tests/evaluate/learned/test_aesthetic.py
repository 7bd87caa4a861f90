import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import SiglipConfig, SiglipModel, SiglipVisionModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from evs_batch.evaluate.learned import LEARNED
from evs_batch.evaluate.learned.aesthetic import Head, rate
from evs_batch.spec.errors import ModelError
from tests.conftest import stripes

FOLDER, FILE = "siglip-so400m-patch14-384", "aesthetic_predictor_v2_5.safetensors"
WIDTH, SIDE_PX = 32, 28
VIDEO = stripes(3, 40, 60)


@pytest.fixture
def folder(write_weights):
    torch.manual_seed(0)
    tower = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**tower, "image_size": SIDE_PX, "patch_size": 14}
    where = write_weights(Head(WIDTH), FILE)
    config = SiglipConfig(vision_config=vision, text_config={**tower, "vocab_size": 50})
    SiglipModel(config).save_pretrained(where / FOLDER)
    return where


def test_the_score_is_the_mean_rating_of_the_frames_as_transformers_prepares_them(folder):
    siglip = SiglipVisionModel.from_pretrained(folder / FOLDER).eval()
    head = Head(WIDTH).eval()
    head.load_state_dict(load_file(folder / FILE))
    half = [0.5, 0.5, 0.5]
    processor = SiglipImageProcessorPil(size={"height": SIDE_PX, "width": SIDE_PX}, image_mean=half, image_std=half)
    seen = processor(images=[Image.fromarray(frame) for frame in VIDEO], return_tensors="pt").pixel_values
    with torch.no_grad():
        expected = rate(head, siglip(pixel_values=seen).pooler_output)
    metric = LEARNED["aesthetic"](folder)
    assert metric(VIDEO) == pytest.approx(expected.mean().item(), abs=1e-5)
    assert metric(VIDEO[1:2]) == pytest.approx(expected[1].item(), abs=1e-5)


def test_the_length_of_the_features_does_not_count():
    head, features = Head(WIDTH).eval(), torch.randn(2, WIDTH)
    torch.testing.assert_close(rate(head, 7 * features), rate(head, features))


def test_the_head_has_the_published_layout():
    shapes = {name: tuple(x.shape) for name, x in Head(1152).state_dict().items() if name.endswith("weight")}
    assert shapes == {
        "scoring_head.0.weight": (1024, 1152),
        "scoring_head.2.weight": (128, 1024),
        "scoring_head.4.weight": (64, 128),
        "scoring_head.6.weight": (16, 64),
        "scoring_head.8.weight": (1, 16),
    }


def test_a_siglip_with_missing_tensors_is_refused_and_not_filled_up(folder):
    path = folder / FOLDER / "model.safetensors"
    tensors = load_file(path)
    del tensors["vision_model.post_layernorm.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 tensors, the first is 'post_layernorm\.weight'"):
        LEARNED["aesthetic"](folder)


def test_a_folder_that_is_no_siglip_is_refused(folder):
    (folder / FOLDER / "config.json").write_text("{}")
    (folder / FOLDER / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        LEARNED["aesthetic"](folder)


def test_a_head_for_another_siglip_is_refused(folder, write_weights):
    write_weights(Head(WIDTH + 1), FILE)
    with pytest.raises(ModelError, match=r"the first is 'scoring_head.0.weight': \(1024, 33\) instead of \(1024, 32\)"):
        LEARNED["aesthetic"](folder)


def test_frames_may_have_any_shape(folder):
    assert np.isfinite(LEARNED["aesthetic"](folder)(stripes(1, 90, 31)))
