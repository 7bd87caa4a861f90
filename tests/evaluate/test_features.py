from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model, PreTrainedModel, SwinConfig, SwinModel, ViTConfig, ViTModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from evs_batch.evaluate import subject_consistency
from evs_batch.evaluate.features import FRAMES_PER_CALL, load_features
from evs_batch.spec.errors import ModelError
from tests.conftest import stripes

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}


def vit() -> ViTModel:
    return ViTModel(ViTConfig(**SMALL, intermediate_size=32), add_pooling_layer=False)


def dinov2() -> Dinov2Model:
    return Dinov2Model(Dinov2Config(**SMALL))


def swin() -> SwinModel:
    return SwinModel(
        SwinConfig(image_size=32, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4)
    )


def saved(model: PreTrainedModel, folder: Path) -> Path:
    """A model folder as transformers writes it."""
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("build", [vit, dinov2, swin])
def test_a_model_folder_gives_a_vector_for_every_frame(build: Callable[[], PreTrainedModel], tmp_path: Path):
    torch.manual_seed(0)
    features = load_features(saved(build(), tmp_path))
    video = stripes(FRAMES_PER_CALL + 1, 20, 28)
    found = features(video)
    assert found.shape == (FRAMES_PER_CALL + 1, 16)
    assert found[:2] == pytest.approx(features(video[:2]), abs=1e-5), "a frame does not depend on its company"
    assert 0 < subject_consistency(found) <= 1 + 1e-6


def test_a_still_is_more_consistent_than_a_change_of_subject(tmp_path: Path):
    torch.manual_seed(0)
    features = load_features(saved(dinov2(), tmp_path))
    still = np.repeat(stripes(1, 32, 32), 4, axis=0)
    changed = np.concatenate([still[:2], 255 - still[:2].transpose(0, 2, 1, 3)])
    assert subject_consistency(features(still)) == pytest.approx(1, abs=1e-5)
    assert subject_consistency(features(changed)) < subject_consistency(features(still))


def test_a_model_without_all_of_its_weights_is_refused(tmp_path: Path):
    model = vit()
    weights = {name: tensor for name, tensor in model.state_dict().items() if "layernorm.weight" not in name}
    saved(model, tmp_path)
    model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(ModelError, match="lacks the weights"):
        load_features(tmp_path)


def test_pickled_weights_are_not_read(tmp_path: Path):
    model = vit()
    saved(model, tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_features(tmp_path)


def test_an_empty_folder_is_refused_by_name(tmp_path: Path):
    with pytest.raises(ModelError, match=f"{tmp_path}: cannot be loaded"):
        load_features(tmp_path)
