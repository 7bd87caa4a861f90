"""Stable Diffusion XL (Podell et al. 2023): two text encoders, a pooled one, and the picture's size as conditions.

All of a prompt travels as one tensor: the pooled embedding is a last token of its own, padded to the text width.
"""

# N prompts, B frames of a forward pass, W windows, K frames of a window, T tokens, D text width, P pooled width

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor

from evs_batch.models.hardware import Hardware
from evs_batch.models.loading import Pickles, load_text_encoder
from evs_batch.models.parts import CACHED_PROMPTS
from evs_batch.models.zoo import T2ISource

FACTOR_PX = 8
SUFFIXES = ("", "_2")  # the folders of the two tokenizers and encoders


def load_text(source: T2ISource, hardware: Hardware, pickles: Pickles) -> "SdxlText":
    """Both text encoders of a diffusers folder."""
    return SdxlText([load_text_encoder(source, suffix) for suffix in SUFFIXES], hardware)


class SdxlText:
    """Prompts to embeddings (N, T + 1, D); each prompt on its own and once. An empty prompt is all zeros."""

    def __init__(self, pairs: list[tuple[Any, Any]], hardware: Hardware) -> None:
        self._pairs = [(tokenizer, hardware.place(encoder)) for tokenizer, encoder in pairs]
        self._hardware = hardware
        self._encode = lru_cache(CACHED_PROMPTS)(self._encode_one)

    def __call__(self, prompts: list[str]) -> Tensor:
        return torch.cat([self._encode(prompt) for prompt in prompts])

    @torch.inference_mode()
    def _encode_one(self, prompt: str) -> Tensor:
        found = []
        for tokenizer, encoder in self._pairs:
            tokens = tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt").input_ids
            found.append(encoder(tokens.to(self._hardware.device), output_hidden_states=True))
        text_NTD = torch.cat([outputs.hidden_states[-2] for outputs in found], -1)
        pooled_NP = found[-1].text_embeds
        packed = torch.cat([text_NTD, nnf.pad(pooled_NP, (0, text_NTD.shape[-1] - pooled_NP.shape[-1]))[:, None]], 1)
        return packed if prompt else torch.zeros_like(packed)


def call(unet: Any, z: Tensor, t: Tensor, text_BTD: Tensor) -> Tensor:
    """One forward pass; of a T2V, the pooled text and the size are given once for each window."""
    pooled_width = unet.add_embedding.linear_1.in_features - 6 * unet.config["addition_time_embed_dim"]
    pooled_P = text_BTD[:: z.shape[2] if z.ndim == 5 else 1, -1, :pooled_width]
    height_px, width_px = FACTOR_PX * z.shape[-2], FACTOR_PX * z.shape[-1]
    sizes = torch.tensor([[height_px, width_px, 0, 0, height_px, width_px]], device=z.device, dtype=z.dtype)
    conditions = {"text_embeds": pooled_P, "time_ids": sizes.expand(len(pooled_P), -1)}
    return unet(z, t, text_BTD[:, :-1], added_cond_kwargs=conditions).sample
