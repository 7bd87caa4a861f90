"""First-frame attention (`using_attn` of the release): every frame looks at the first one of its clip.

As in Text2Video-Zero (Khachatryan et al., ICCV 2023): self-attention takes keys and values of the first frame, which
holds colours and shapes together; T2I stays a frame-wise model otherwise.
"""

# B frames of a forward pass (twice with guidance), G of them for each clip, L latent cells, D width

import re
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from evs_batch.models.hardware import in_chunks

_SELF_ATTENTION = re.compile(r".*\.attn1")


def look_at_first_frames(unet: UNet2DConditionModel, group: int) -> None:
    """Let self-attention take every `group` rows for one clip's, its first frame in front."""
    for name, module in unet.named_modules():
        if _SELF_ATTENTION.fullmatch(name):
            module.set_processor(_FirstFrame(group))  # pyright: ignore[reportCallIssue]


def behind_first_frames(call: Callable[..., Tensor], size: int, lengths: list[int], *tensors: Tensor) -> Tensor:
    """Run `call` on rows of one clip at a time, its first row before each `size` - 1 others; gives every row once."""
    results = []
    for clip in zip(*(tensor.split(lengths) for tensor in tensors), strict=True):

        def behind(*others: Tensor, first: tuple[Tensor, ...] = clip) -> Tensor:
            return call(*(torch.cat([whole[:1], rows]) for whole, rows in zip(first, others, strict=True)))[1:]

        results.append(in_chunks(behind, size - 1, *clip))
    return torch.cat(results)


class _FirstFrame:
    """What diffusers calls for one attention layer."""

    def __init__(self, group: int) -> None:
        self._group, self._base = group, AttnProcessor2_0()

    def __call__(self, attn: Attention, hidden_states: Tensor, **rest: Any) -> Tensor:
        first_BLD = hidden_states[:: self._group].repeat_interleave(self._group, 0)
        return self._base(attn, hidden_states, **{**rest, "encoder_hidden_states": first_BLD})
