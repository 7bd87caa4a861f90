"""The tiny family's models: diffusers' own classes in small sizes, laid out on disk as a diffusers folder."""

import json
from pathlib import Path
from typing import Any

from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from tokenizers import Tokenizer, models, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TEXT_WIDTH = 64
MAX_TOKENS = 24
CHANNELS = (32, 64, 96, 128)
GROUPS = 8
HEADS = 4
VAE_WIDTH, DECODER_WIDTH = 48, 32
LORA_RANK = 8


def build_vae() -> AutoencoderTiny:
    """Pictures (N, 3, H, W) in -1..1 to latents (N, 4, H/4, W/4); 1.0 M parameters.

    A quarter, not an eighth: a shape of 60 pixels must be as many latent cells as an object in a real picture.
    """
    return AutoencoderTiny(
        encoder_block_out_channels=(VAE_WIDTH,) * 3,
        decoder_block_out_channels=(VAE_WIDTH,) * 3,
        num_encoder_blocks=(1, 3, 3),
        num_decoder_blocks=(3, 3, 1),
    )


def build_small_decoder() -> AutoencoderTiny:
    """The same encoder, and a decoder of two fifths of the operations: 0.16 M of 0.64 M parameters."""
    return AutoencoderTiny(
        encoder_block_out_channels=(VAE_WIDTH,) * 3,
        decoder_block_out_channels=(DECODER_WIDTH,) * 3,
        num_encoder_blocks=(1, 3, 3),
        num_decoder_blocks=(2, 2, 1),
    )


def build_text_encoder(tokenizer: Any) -> CLIPTextModel:
    """Token ids (N, 24) to embeddings (N, 24, 64); 0.1 M parameters."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_unet() -> UNet2DConditionModel:
    """The T2I noise predictor on latents (N, 4, 32, 32) and (N, 4, 64, 64); 5.4 M parameters."""
    return UNet2DConditionModel(
        sample_size=32,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        norm_num_groups=GROUPS,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=HEADS,
    )


def build_motion_adapter() -> MotionAdapter:
    """Temporal layers that turn the T2I into a T2V of up to 32 frames; 2.4 M parameters."""
    return MotionAdapter(
        block_out_channels=CHANNELS,
        motion_layers_per_block=1,
        motion_num_attention_heads=HEADS,
        motion_norm_num_groups=GROUPS,
        motion_max_seq_length=32,
    )


def train_tokenizer(captions: list[str], folder: Path) -> CLIPTokenizer:
    """Learn a small byte-level BPE from captions and save it as CLIP's vocab.json and merges.txt."""
    blank: Any = CLIPTokenizer(vocab={"<|startoftext|>": 0, "<|endoftext|>": 1})
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = blank.backend_tokenizer.normalizer
    learner.pre_tokenizer = blank.backend_tokenizer.pre_tokenizer
    alphabet = sorted(ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
    )
    learner.train_from_iterator(captions, trainer)
    model = json.loads(learner.to_str())["model"]
    vocab = dict(model["vocab"])
    for byte in alphabet:  # a word may end in any byte
        vocab.setdefault(byte + "</w>", len(vocab))
    merges: Any = [tuple(merge) for merge in model["merges"]]
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(folder)
    return tokenizer
