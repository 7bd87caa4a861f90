"""Classifier-free guidance (Ho and Salimans 2022) as one batch of twice the size.

Until text comes in, both halves of that batch are equal: what is computed before is computed once.
"""

# B frames of a forward pass, T tokens, D text width

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

Forward = Callable[[Tensor, Tensor], Tensor]  # (z, text) -> output


class Guidance:
    """Guides a U-Net; `unet`'s modules are its own from then on."""

    def __init__(self, unet: Any) -> None:
        self._halves = False
        for module in _before_text(unet):
            module.forward = partial(self._once, module.forward)

    def __call__(self, forward: Forward, z: Tensor, prompt: Tensor, negative: Tensor, scale: float) -> Tensor:
        """What `forward` gives for the prompt, led away from what it gives for the negative one; 1 is no guidance."""
        self._halves = scale != 1
        if scale == 1:
            return forward(z, prompt)
        without, with_prompt = forward(torch.cat([z, z]), torch.cat([negative, prompt])).chunk(2)
        return without + scale * (with_prompt - without)

    def _once(self, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._halves:
            return forward(*args, **kwargs)
        half = [_each(arg, lambda x: x[: len(x) // 2]) for arg in args]
        named = {name: _each(arg, lambda x: x[: len(x) // 2]) for name, arg in kwargs.items()}
        return _each(forward(*half, **named), lambda x: torch.cat([x, x]))


def _before_text(unet: Any) -> Iterator[Any]:
    """Modules of a U-Net that see neither text nor what has seen it; none if its time embedding holds text (SDXL)."""
    if unet.config.get("addition_embed_type"):
        return
    yield unet.conv_in
    for block in unet.down_blocks:
        if attentions := getattr(block, "attentions", None):
            yield block.resnets[0]
            yield attentions[0].transformer_blocks[0].attn1
            return
        yield block


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Change all tensors of a value that have rows."""
    if isinstance(value, tuple):
        return tuple(_each(part, change) for part in value)
    return change(value) if isinstance(value, Tensor) and value.ndim else value
