"""Weights in their authors' own layouts, as diffusers' and transformers' models.

Sizes are read off the tensors, so that every model of the family loads, and what is of another family is named.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers.loaders import single_file_utils as ldm
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from safetensors import safe_open
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from evs_batch.spec.errors import ModelError

Tensors = Mapping[str, Tensor]

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."
HEAD_WIDTH = 64  # of a CLIP text encoder
VAE_SCALE = 0.18215  # of Stable Diffusion 1
HEADS = 8  # of its U-Net's attention and of AnimateDiff's
LATENT_CHANNELS = 4


def read_tensors(path: Path, pickles: tuple[str, ...] = (), prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a file whose names begin so; a pickle only if its file name is among `pickles`."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
    if path.name not in pickles:
        raise ModelError(
            str(path), "is a pickle, which can run any program when it is read",
            f"use the .safetensors file; or, if you trust it, allow it by name: runtime.pickles = ['{path.name}']",
        )  # fmt: skip
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise ModelError(str(path), "holds other things than tensors", "use a file of weights alone") from error
    state = state.get("state_dict", state)
    return {name: value for name, value in state.items() if name.startswith(prefix)}


def unet(tensors: Tensors) -> UNet2DConditionModel:
    """The T2I of a Stable Diffusion 1 checkpoint, from its tensors under `UNET`."""
    _check_family(tensors)
    levels = _count(tensors, re.escape(UNET) + r"input_blocks\.(\d+)\.0\.(?:op|in_layers)") // 3
    first_attention = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    config = {
        "block_out_channels": tuple(
            tensors[f"{UNET}input_blocks.{3 * level + 1}.0.out_layers.3.weight"].shape[0] for level in range(levels)
        ),
        "down_block_types": ("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        "cross_attention_dim": tensors[first_attention].shape[1],
        "attention_head_dim": HEADS,
    }
    return build(UNet2DConditionModel, config, ldm.convert_ldm_unet_checkpoint(dict(tensors), _defaults(config)))


def _defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """A U-Net's configuration with its defaults, which the converter reads."""
    with init_empty_weights():
        return dict(UNet2DConditionModel(**config).config)


def vae(tensors: Tensors) -> AutoencoderKL:
    """The autoencoder of a Stable Diffusion 1 checkpoint, from its tensors under `VAE`."""
    levels = _count(tensors, re.escape(VAE) + r"encoder\.down\.(\d+)\.block")
    config: dict[str, Any] = {
        "block_out_channels": tuple(
            tensors[f"{VAE}encoder.down.{level}.block.0.conv2.weight"].shape[0] for level in range(levels)
        ),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "layers_per_block": 2,
        "latent_channels": tensors[f"{VAE}post_quant_conv.weight"].shape[0],
        "scaling_factor": VAE_SCALE,
    }
    return build(AutoencoderKL, config, ldm.convert_ldm_vae_checkpoint(dict(tensors), config))


def text_encoder(tensors: Tensors) -> CLIPTextModel:
    """The text encoder of a Stable Diffusion 1 checkpoint, from its tensors under `TEXT`."""
    tensors = {name.removeprefix(TEXT): value for name, value in tensors.items()}
    vocabulary, width = tensors["embeddings.token_embedding.weight"].shape
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        max_position_embeddings=tensors["embeddings.position_embedding.weight"].shape[0],
        intermediate_size=tensors["encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=_count(tensors, r"encoder\.layers\.(\d+)\."),
        num_attention_heads=max(1, width // HEAD_WIDTH),
    )
    ids = "embeddings.position_ids"  # of older checkpoints: a range
    return build(CLIPTextModel, {"config": config}, {name: v for name, v in tensors.items() if name != ids})


def motion_adapter(tensors: Tensors) -> MotionAdapter:
    """A motion module in AnimateDiff's own layout or in diffusers'."""
    tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    seen = _sequence_length(tensors)
    if any(".temporal_transformer." in name for name in tensors):
        tensors = ldm.convert_animatediff_checkpoint_to_diffusers(tensors)
    tensors = {name: value for name, value in tensors.items() if "motion_modules." in name}
    levels = _count(tensors, r"down_blocks\.(\d+)\.")
    if not levels:
        raise ModelError("the motion module", "holds no motion layers", "name a motion module of AnimateDiff")
    config = {
        "block_out_channels": tuple(
            tensors[f"down_blocks.{level}.motion_modules.0.norm.weight"].shape[0] for level in range(levels)
        ),
        "motion_layers_per_block": _count(tensors, r"down_blocks\.0\.motion_modules\.(\d+)\."),
        "motion_num_attention_heads": HEADS,
        "motion_max_seq_length": seen,
        "use_motion_mid_block": any(name.startswith("mid_block.") for name in tensors),
    }
    return build(MotionAdapter, config, {n: v for n, v in tensors.items() if not n.endswith(".pos_embed.pe")})


def build(kind: Any, config: Mapping[str, Any], tensors: Tensors) -> Any:
    """A model that takes the given tensors as its own, without a copy; raises RuntimeError if some do not fit."""
    with init_empty_weights(include_buffers=False):
        model = kind(**config)
    expected = {name for name, _ in model.named_parameters()}
    missing, unknown = expected - tensors.keys(), tensors.keys() - expected
    if missing or unknown:
        raise ValueError(f"lacks {_some(missing)}; has {_some(unknown)}, which {kind.__name__} does not know")
    model.load_state_dict(tensors, strict=False, assign=True)
    return model


def _some(names: set[str]) -> str:
    return f"{len(names)} tensors such as {min(names)}" if names else "nothing"


def _check_family(tensors: Tensors) -> None:
    """Raise ModelError for anything but a text-to-image U-Net of Stable Diffusion 1."""
    first = tensors.get(f"{UNET}input_blocks.0.0.weight")
    if first is None:
        raise ModelError("the file", "is no checkpoint of Stable Diffusion 1", "name another model")
    if f"{UNET}label_emb.0.0.weight" in tensors:
        raise ModelError("a checkpoint of Stable Diffusion XL", "must be of Stable Diffusion 1", "name another model")
    if tensors[f"{UNET}input_blocks.1.1.proj_in.weight"].ndim == 2:
        raise ModelError("a checkpoint of Stable Diffusion 2", "must be of Stable Diffusion 1", "name another model")
    if first.shape[1] != LATENT_CHANNELS:
        raise ModelError(
            f"a U-Net with {first.shape[1]} input channels", "must have 4: it inpaints or follows depth",
            "use the text-to-image checkpoint of the same model",
        )  # fmt: skip


def _count(tensors: Tensors, pattern: str) -> int:
    """One more than the largest number that a name has at a place."""
    return 1 + max((int(found[1]) for name in tensors if (found := re.match(pattern, name))), default=-1)


def _sequence_length(tensors: Tensors) -> int:
    """How many frames the module can tell apart."""
    lengths = [v.shape[-2] for name, v in tensors.items() if name.endswith(("pos_encoder.pe", "pos_embed.pe"))]
    return min(lengths, default=32)
