"""Selective Feature Injection (EVS, Eq. 11): while T2V denoises, self-attention looks at the inverted video.

The projections have no bias, so blending queries is blending their inputs: the layer's input h_inv is all that is kept.
"""

# B frames of a window (twice with guidance), L latent cells, D width

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from evs_batch.spec.errors import RecipeError, nearest

CONVOLUTION = "up_blocks.1.resnets.1.conv2"  # before the residual is added: f of Algorithm 1
_DECODER_SELF_ATTENTION = re.compile(r"up_blocks\.(\d+)\.attentions\..*\.attn1")


class Injection:
    """The features of one call, by layer, timestep and window: recorded by the inversion, injected by the block.

    Only spatial self-attention of the decoder is touched, and one convolution if asked; motion modules never are.
    """

    def __init__(self, unet: nn.Module, layers: str | Sequence[str], gamma: float, convolution: bool = False) -> None:
        self._gamma, self._base = gamma, AttnProcessor2_0()
        self._features: dict[tuple[str, float, int], Tensor] = {}
        self._recorded: frozenset[float] = frozenset()
        self._injecting = False
        self._cells: list[tuple[int, int]] = []  # of what is kept: how much smaller its level is, and its width
        self.at: tuple[float, int] = (0.0, 0)  # timestep and first row of the window under way
        for name in choose_layers(unet, layers):
            module: Any = unet.get_submodule(name)
            module.set_processor(_Processor(self, name))
            self._cells.append((_shrink(unet, name), module.to_q.in_features))
        if convolution:
            module = unet.get_submodule(CONVOLUTION)
            module.register_forward_hook(self._convolve)
            self._cells.append((_shrink(unet, CONVOLUTION), module.out_channels))
        self._cell_bytes = next(unet.parameters()).element_size()

    @contextmanager
    def record(self, timesteps: Tensor) -> Iterator[None]:
        """Keep what the layers see at these timesteps."""
        self._recorded = frozenset(timesteps.tolist())
        try:
            yield
        finally:
            self._recorded = frozenset()

    @contextmanager
    def inject(self) -> Iterator[None]:
        """Use what was kept, and forget it afterwards."""
        self._injecting = True
        try:
            yield
        finally:
            self._injecting = False
            self._features.clear()

    @property
    def held_bytes(self) -> int:
        """Memory of the features that are kept now."""
        return sum(h.nbytes for h in self._features.values())

    def window_bytes(self, frames: int, height: int, width: int) -> int:
        """Memory of one window at one timestep, for latents of this size."""
        kept = sum(
            math.ceil(height / shrink) * math.ceil(width / shrink) * channels for shrink, channels in self._cells
        )
        return frames * kept * self._cell_bytes

    def attend(self, name: str, attention: Attention, h_BLD: Tensor, **rest: Any) -> Tensor:
        """Attention of one layer, as the mode asks."""
        inverted_BLD = self._inverted(name, h_BLD)
        if inverted_BLD is None:
            return self._base(attention, h_BLD, **rest)
        query_BLD = torch.lerp(h_BLD, inverted_BLD, self._gamma)
        return self._base(attention, query_BLD, **{**rest, "encoder_hidden_states": inverted_BLD})

    def _convolve(self, _module: nn.Module, _inputs: Any, f_BCHW: Tensor) -> Tensor | None:
        """The convolution's output, replaced by that of the inversion; None leaves it as it is."""
        return self._inverted(CONVOLUTION, f_BCHW)

    def _inverted(self, name: str, seen: Tensor) -> Tensor | None:
        """Keep what a layer sees if it is to be recorded; what it saw in the inversion, if that is to be injected."""
        key = (name, *self.at)
        if self.at[0] in self._recorded:
            self._features[key] = seen.clone()
        if not self._injecting or key not in self._features:
            return None
        kept = self._features[key]
        return kept.repeat(len(seen) // len(kept), *[1] * (kept.ndim - 1))


class _Processor:
    """What diffusers calls for one attention layer."""

    def __init__(self, injection: Injection, name: str) -> None:
        self._injection, self._name = injection, name

    def __call__(self, attn: Attention, hidden_states: Tensor, *args: Any, **rest: Any) -> Tensor:
        if args:
            rest["encoder_hidden_states"] = args[0]
        return self._injection.attend(self._name, attn, hidden_states, **rest)


def _shrink(unet: Any, name: str) -> int:
    """How many times smaller than the latents the level of a decoder's layer is."""
    level = int(name.split(".")[1])
    return 2 ** (len(unet.up_blocks) - 1 - level)


def choose_layers(unet: nn.Module, layers: str | Sequence[str]) -> list[str]:
    """Names of the decoder's spatial self-attention: "deep" (lowest resolution), "shallow", "all", or by prefix.

    Raises RecipeError for a prefix that names none.
    """
    found = {name: int(m[1]) for name, _ in unet.named_modules() if (m := _DECODER_SELF_ATTENTION.fullmatch(name))}
    blocks = sorted(set(found.values()))
    if layers == "all":
        return list(found)
    if isinstance(layers, str):
        wanted = {"deep": blocks[0], "shallow": blocks[-1]}[layers]
        return [name for name, block in found.items() if block == wanted]
    for prefix in layers:
        if not any(name.startswith(prefix) for name in found):
            raise RecipeError(f"sfi.layers={prefix!r}", "names no self-attention layer of the T2V's decoder",
                              nearest(prefix, found))  # fmt: skip
    return [name for name in found if name.startswith(tuple(layers))]
