"""LoRAs merged into the weights of a T2I."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from evs_batch.models import loading, zoo
from evs_batch.spec.errors import ModelError
from evs_batch.spec.recipe import Lora, parse_recipe

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
RANK = 2
TINY = zoo.t2i_source("tiny")


def write_lora(folder: Path, seed: int = 0) -> Path:
    """A LoRA of random weights on one layer, in the format that diffusers saves."""
    unet = loading.load_unet(TINY)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=[LAYER]))
    generator = torch.Generator().manual_seed(seed)
    layers: Any = {
        name: torch.randn(value.shape, generator=generator) for name, value in get_peft_model_state_dict(unet).items()
    }
    StableDiffusionLoraLoaderMixin.save_lora_weights(folder, unet_lora_layers=layers)
    return folder / "pytorch_lora_weights.safetensors"


def product(path: Path) -> torch.Tensor:
    """What a LoRA adds at weight 1."""
    tensors = load_file(path)
    down, up = (next(t for name, t in tensors.items() if part in name) for part in ("lora_A", "lora_B"))
    return up @ down


def layer(*loras: Lora) -> torch.Tensor:
    unet: Any = loading.load_unet(TINY, loras)
    return unet.get_submodule(LAYER).weight


def test_several_loras_are_added_with_their_weights(tmp_path: Path):
    first, second = write_lora(tmp_path / "a"), write_lora(tmp_path / "b", seed=1)
    made = layer(Lora(path=str(first), weight=0.5), Lora(path=str(second), weight=-1.0))
    assert torch.allclose(made, layer() + 0.5 * product(first) - product(second), atol=1e-4)


def test_nothing_of_the_merging_stays_in_the_model(tmp_path: Path):
    path = write_lora(tmp_path)
    names = list(loading.load_unet(TINY, [Lora(path=str(path))]).state_dict())
    assert names == list(loading.load_unet(TINY).state_dict())


def test_a_recipe_takes_a_path_or_a_path_with_a_weight():
    recipe = parse_recipe({"t2i": {"loras": ["a.safetensors", {"path": "b.safetensors", "weight": 0.4}]}})
    assert [(lora.path, lora.weight) for lora in recipe.t2i.loras] == [("a.safetensors", 1.0), ("b.safetensors", 0.4)]


def test_a_lora_that_is_not_there_is_named():
    with pytest.raises(ModelError, match=r"t2i\.loras='no-such-lora'.*neither in the model zoo nor a file"):
        layer(Lora(path="no-such-lora"))


def test_a_file_of_something_else_is_refused(tmp_path: Path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="holds no LoRA layers"):
        layer(Lora(path=str(tmp_path / "other.safetensors")))
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(ModelError, match="cannot be loaded"):
        layer(Lora(path=str(tmp_path / "text.safetensors")))


def test_a_lora_with_a_text_encoder_is_refused_instead_of_half_used(tmp_path: Path):
    path = write_lora(tmp_path)
    tensors = load_file(path)
    tensors["text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight"] = torch.zeros(
        2, 64
    )
    save_file(tensors, path)
    with pytest.raises(ModelError, match="text encoder"):
        layer(Lora(path=str(path)))
