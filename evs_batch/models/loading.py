"""Read the parts of a model from disk: safetensors only, never code."""

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter, UNetMotionModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from evs_batch.models.zoo import T2VSource, lora_file
from evs_batch.spec.errors import ModelError
from evs_batch.spec.recipe import Lora

_VAES = {"AutoencoderTiny": AutoencoderTiny, "AutoencoderKL": AutoencoderKL}

logging.getLogger("diffusers").setLevel(logging.ERROR)  # it warns of fields that it ignores itself
transformers_logging.disable_progress_bar()


def load_vae(folder: Path) -> AutoencoderTiny | AutoencoderKL:
    """The autoencoder of a diffusers folder, of the class that its config names."""
    with _explained(folder / "vae"):
        config: Any = AutoencoderKL.load_config(folder / "vae")
        return _VAES[config["_class_name"]].from_pretrained(folder / "vae", **_SAFE)


def load_text(folder: Path) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Tokenizer and text encoder of a diffusers folder."""
    with _explained(folder / "text_encoder"):
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        encoder = CLIPTextModel.from_pretrained(
            folder / "text_encoder", use_safetensors=True, local_files_only=True, dtype=torch.float32
        )
        return tokenizer, encoder


def load_unet(folder: Path, loras: Sequence[Lora] = ()) -> UNet2DConditionModel:
    """The T2I noise predictor of a diffusers folder, with LoRAs merged into its weights."""
    with _explained(folder / "unet"):
        unet: Any = UNet2DConditionModel.from_pretrained(folder / "unet", **_SAFE)
    for number, lora in enumerate(loras):
        _merge(unet, lora, f"lora{number}")
    return unet


def _merge(unet: Any, lora: Lora, name: str) -> None:
    path = lora_file(lora.path)
    with _explained(path):
        read: Any = StableDiffusionLoraLoaderMixin.lora_state_dict(load_file(path), unet_config=unet.config)
        tensors, alphas = read
        if any(key.startswith("text_encoder") for key in tensors):
            raise ModelError(
                str(path), "holds layers of a text encoder, which are not merged", "use a LoRA of the U-Net"
            )
        if not any("lora" in key for key in tensors):
            raise ModelError(str(path), "holds no LoRA layers", "name a LoRA of a Stable Diffusion 1.5 U-Net")
        StableDiffusionLoraLoaderMixin.load_lora_into_unet(tensors, alphas, unet, adapter_name=name)
    unet.set_adapters([name], [lora.weight])
    unet.fuse_lora(adapter_names=[name])
    unet.unload_lora()


def load_motion_unet(source: T2VSource) -> UNetMotionModel:
    """A motion module on the spatial layers of its base."""
    with _explained(source.motion):
        adapter = MotionAdapter.from_pretrained(source.motion, **_SAFE)
        unet: Any = UNetMotionModel.from_unet2d(load_unet(source.base.folder), adapter)
        return unet


_SAFE: dict[str, Any] = {
    "use_safetensors": True,
    "local_files_only": True,
    "low_cpu_mem_usage": True,
    "torch_dtype": torch.float32,
}


@contextlib.contextmanager
def _explained(folder: Path):
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(str(folder), f"cannot be loaded ({error})", "check that the folder is complete") from error
