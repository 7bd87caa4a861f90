"""Stable Diffusion 1.5 and AnimateDiff in their very shapes with random weights: they cost what trained ones cost."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from transformers import CLIPTextConfig, CLIPTextModel

from evs_batch.models.zoo import TINY

DECODER = "decoder"
LEVELS, TEXT_TOKENS, VOCABULARY = 4, 77, 49408


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Channels of the levels of U-Net and autoencoder, and the text encoder's configuration."""

    unet: tuple[int, ...]
    vae: tuple[int, ...]
    text: Mapping[str, Any] = field(default_factory=dict)


SHAPES: Mapping[str, Shape] = {
    "full": Shape(
        unet=(320, 640, 1280, 1280),
        vae=(128, 256, 512, 512),
        text={"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    ),
    "small": Shape(
        unet=(32, 64, 96, 96),
        vae=(32, 32, 32, 32),
        text={"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 1},
    ),
}


def write(folder: Path, size: str, device: torch.device) -> None:
    """Write folders as of Stable Diffusion 1.5 (`t2i`), AnimateDiff (`motion`) and TAESD (`decoder`), in fp16."""
    shape = SHAPES[size]
    unet: dict[str, Any] = {"block_out_channels": shape.unet, "cross_attention_dim": shape.text["hidden_size"]}
    vae: dict[str, Any] = {
        "block_out_channels": shape.vae,
        "down_block_types": ("DownEncoderBlock2D",) * LEVELS,
        "up_block_types": ("UpDecoderBlock2D",) * LEVELS,
        "layers_per_block": 2,
        "scaling_factor": 0.18215,
    }
    text = CLIPTextConfig(**shape.text, max_position_embeddings=TEXT_TOKENS, vocab_size=VOCABULARY)
    torch.manual_seed(0)
    with device:
        parts = {
            "t2i/unet": UNet2DConditionModel(**unet),
            "t2i/vae": AutoencoderKL(**vae),
            "t2i/text_encoder": CLIPTextModel(text),
            "motion": MotionAdapter(block_out_channels=shape.unet),
            DECODER: AutoencoderTiny(),
        }
    for name, part in parts.items():
        part.half().save_pretrained(folder / name)
    tokenizer = shutil.copytree(TINY / "tokenizer", folder / "t2i" / "tokenizer")
    config = json.loads((tokenizer / "tokenizer_config.json").read_text())
    (tokenizer / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": TEXT_TOKENS}))
