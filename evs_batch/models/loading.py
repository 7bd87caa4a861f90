"""Read the parts of a model from disk: safetensors unless a pickle is allowed by name, and never code."""

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from accelerate import init_empty_weights
from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter, UNetMotionModel
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from evs_batch.models import layouts
from evs_batch.models.hardware import Hardware
from evs_batch.models.places import Place, locate
from evs_batch.models.zoo import DecoderSource, T2ISource, T2VSource, lora_place
from evs_batch.spec.errors import ModelError
from evs_batch.spec.recipe import Lora

_TEXT_ENCODERS = {kind.__name__: kind for kind in (CLIPTextModel, CLIPTextModelWithProjection)}
_VAES = {"AutoencoderTiny": AutoencoderTiny, "AutoencoderKL": AutoencoderKL}

Pickles = tuple[str, ...]

logging.getLogger("diffusers").setLevel(logging.ERROR)  # it warns of fields that it ignores itself
transformers_logging.disable_progress_bar()


def load_vae(source: T2ISource, pickles: Pickles = ()) -> AutoencoderTiny | AutoencoderKL:
    """The autoencoder of a T2I."""
    return _autoencoder(source.vae or source.weights, source.wanted, pickles)


def load_decoder(source: DecoderSource, pickles: Pickles = ()) -> AutoencoderTiny | AutoencoderKL:
    """The autoencoder whose decoder makes pictures of a T2I's latents."""
    return _autoencoder(source.weights, source.wanted, pickles)


def _autoencoder(place: Place, wanted: str, pickles: Pickles) -> AutoencoderTiny | AutoencoderKL:
    """Of the class that its config names."""
    with _explained(place, wanted) as path:
        if path.is_file():
            return layouts.vae(layouts.read_tensors(path, pickles, layouts.VAE))
        folder = path / "vae" if (path / "vae").is_dir() else path
        config: Any = AutoencoderKL.load_config(folder)
        return _VAES[config["_class_name"]].from_pretrained(folder, **_SAFE)


def load_text(source: T2ISource, pickles: Pickles = ()) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Tokenizer and text encoder."""
    with _explained(source.tokenizer or source.weights, source.wanted) as path:
        tokenizer = CLIPTokenizer.from_pretrained(path / "tokenizer", local_files_only=True)
    with _explained(source.weights, source.wanted) as path:
        if path.is_file():
            return tokenizer, layouts.text_encoder(layouts.read_tensors(path, pickles, layouts.TEXT))
        encoder = CLIPTextModel.from_pretrained(
            path / "text_encoder", use_safetensors=True, local_files_only=True, dtype=torch.float32
        )
        return tokenizer, encoder


def load_text_encoder(source: T2ISource, suffix: str) -> tuple[CLIPTokenizer, Any]:
    """One of several text encoders of a diffusers folder, of the class that its config names."""
    with _explained(source.weights, source.wanted) as path:
        tokenizer = CLIPTokenizer.from_pretrained(path / f"tokenizer{suffix}", local_files_only=True)
        folder = path / f"text_encoder{suffix}"
        kind = _TEXT_ENCODERS[json.loads((folder / "config.json").read_text())["architectures"][0]]
        encoder = kind.from_pretrained(folder, use_safetensors=True, local_files_only=True, dtype=torch.float32)
        return tokenizer, encoder


def load_unet(
    source: T2ISource, loras: Sequence[Lora] = (), pickles: Pickles = (), dtype: torch.dtype = torch.float32
) -> UNet2DConditionModel:
    """The T2I noise predictor, with its own LoRAs and the given ones merged into its weights in fp32.

    Without LoRAs, a diffusers folder's weights come as `dtype` at once.
    """
    wanted = [*source.loras, *((lora_place(lora.path), lora.weight) for lora in loras)]
    with _explained(source.weights, source.wanted) as path:
        if path.is_file():
            unet: Any = layouts.unet(layouts.read_tensors(path, pickles, layouts.UNET))
        else:
            as_it_is = {**_SAFE, "torch_dtype": torch.float32 if wanted else dtype}
            unet = UNet2DConditionModel.from_pretrained(path / "unet", **as_it_is)
    for number, (place, weight) in enumerate(wanted):
        _merge(unet.float(), place, weight, f"lora{number}")
    return unet


def shared_unet(
    source: T2ISource, loras: Sequence[Lora], hardware: Hardware, pickles: Pickles = ()
) -> UNet2DConditionModel:
    """The U-Net where it rests, once in this process: a T2I and a T2V on the same base hold one set of weights."""
    key = (source.weights, source.loras, tuple(loras), hardware)
    unet = _held.get(key)
    if unet is None:
        unet = _held[key] = hardware.hold(load_unet(source, loras, pickles, hardware.dtype))
    return unet


_held: WeakValueDictionary[Any, UNet2DConditionModel] = WeakValueDictionary()


def twin(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same weights in modules of their own."""
    with init_empty_weights():
        made: Any = UNet2DConditionModel.from_config(unet.config)
    made.load_state_dict(unet.state_dict(), assign=True)
    return made.eval().requires_grad_(False)


def load_motion_unet(source: T2VSource, spatial: UNet2DConditionModel, pickles: Pickles = ()) -> UNetMotionModel:
    """A motion module on the spatial layers of a T2I: it shares their weights with `spatial`, on its device."""
    with _explained(source.motion, source.wanted) as path:
        if path.is_file():
            adapter: Any = layouts.motion_adapter(layouts.read_tensors(path, pickles))
        else:
            adapter = MotionAdapter.from_pretrained(path, **{**_SAFE, "torch_dtype": spatial.dtype})
        adapter.to(spatial.device, spatial.dtype)
        with init_empty_weights():
            motion: Any = UNetMotionModel.from_unet2d(spatial, adapter, load_weights=False)
        motion.load_state_dict({**spatial.state_dict(), **adapter.state_dict()}, strict=True, assign=True)
        return motion


def _merge(unet: Any, place: Place, weight: float, name: str) -> None:
    with _explained(place, str(place)) as path:
        read: Any = StableDiffusionLoraLoaderMixin.lora_state_dict(layouts.read_tensors(path), unet_config=unet.config)
        tensors, alphas = read
        if any(key.startswith("text_encoder") for key in tensors):
            raise ModelError(
                str(path), "holds layers of a text encoder, which are not merged", "use a LoRA of the U-Net"
            )
        if not any("lora" in key for key in tensors):
            raise ModelError(str(path), "holds no LoRA layers", "name a LoRA of a Stable Diffusion 1.5 U-Net")
        StableDiffusionLoraLoaderMixin.load_lora_into_unet(tensors, alphas, unet, adapter_name=name)
    unet.set_adapters([name], [weight])
    unet.fuse_lora(adapter_names=[name])
    unet.unload_lora()


_SAFE: dict[str, Any] = {
    "use_safetensors": True,
    "local_files_only": True,
    "low_cpu_mem_usage": True,
    "torch_dtype": torch.float32,
}


@contextlib.contextmanager
def _explained(place: Place, wanted: str) -> Iterator[Path]:
    """The file or folder of a place; whatever goes wrong with it is a ModelError."""
    path = locate(place, wanted)
    try:
        yield path
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(str(path), f"cannot be loaded ({error})", "check that it is complete") from error
