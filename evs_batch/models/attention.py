"""Self-attention that looks elsewhere: at the first frame of its clip, or at fewer places of its own frame.

First-frame attention (`using_attn` of the release), as in Text2Video-Zero (Khachatryan et al., ICCV 2023): keys and
values are the first frame's, which holds colours and shapes together; T2I stays a frame-wise model otherwise.

Fewer keys, as in ToDo (Smith, Saxena and Saha 2024): those of every second row and column do where cells are finest.
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


class FirstFrames:
    """Lets self-attention take every `group` rows for one clip's, its first frame in front."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self.group = 0  # of the forward passes that come next
        self._base = AttnProcessor2_0()
        for name, module in unet.named_modules():
            if _SELF_ATTENTION.fullmatch(name):
                module.set_processor(self)  # pyright: ignore[reportCallIssue]

    def __call__(self, attn: Attention, hidden_states: Tensor, **rest: Any) -> Tensor:
        first_BLD = hidden_states[:: self.group].repeat_interleave(self.group, 0)
        return self._base(attn, hidden_states, **{**rest, "encoder_hidden_states": first_BLD})


def behind_first_frames(call: Callable[..., Tensor], size: int, lengths: list[int], *tensors: Tensor) -> Tensor:
    """Run `call` on rows of one clip at a time, its first row before each `size` - 1 others; gives every row once."""
    results = []
    for clip in zip(*(tensor.split(lengths) for tensor in tensors), strict=True):

        def behind(*others: Tensor, first: tuple[Tensor, ...] = clip) -> Tensor:
            return call(*(torch.cat([whole[:1], rows]) for whole, rows in zip(first, others, strict=True)))[1:]

        results.append(in_chunks(behind, size - 1, *clip))
    return torch.cat(results)


class FewerKeys:
    """Lets self-attention of the finest level that has any take every `factor`-th row and column for its keys."""

    def __init__(self, unet: UNet2DConditionModel, factor: int) -> None:
        self.width = 0  # of the latents that come next, in cells
        self._factor, self._base = factor, AttnProcessor2_0()
        levels = [hasattr(block, "attentions") for block in unet.down_blocks]
        finest = levels.index(True)
        self._shrink = 2**finest
        for block in (unet.down_blocks[finest], unet.up_blocks[len(levels) - 1 - finest]):
            for name, module in block.named_modules():
                if _SELF_ATTENTION.fullmatch(name):
                    module.set_processor(self)  # pyright: ignore[reportCallIssue]

    def __call__(self, attn: Attention, hidden_states: Tensor, **rest: Any) -> Tensor:
        width = -(-self.width // self._shrink)
        grid_BhwD = hidden_states.unflatten(1, (-1, width))[:, :: self._factor, :: self._factor]
        return self._base(attn, hidden_states, **{**rest, "encoder_hidden_states": grid_BhwD.flatten(1, 2)})
