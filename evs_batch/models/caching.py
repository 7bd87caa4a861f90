"""Deep features of a U-Net are kept for a few steps (DeepCache: Ma, Fang and Wang, CVPR 2024)."""

# B frames of a forward pass, C latent channels, h/w latent cells, T tokens, D text width

from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import Tensor, nn


class FeatureCache:
    """Runs the whole of a frame-wise U-Net at every `interval`-th step, and its outermost layer at the others.

    `unet`'s modules are its own from then on. `key` says which frames come next: each has features of its own.
    """

    def __init__(self, unet: Any, interval: int) -> None:
        self.key: tuple[int, ...] = ()
        self._interval, self._kept = interval, dict[tuple[int, ...], tuple[int, Tensor]]()
        self._unet, self._whole = unet, unet.forward
        self._last = unet.up_blocks[-1]
        self._last.resnets[-1] = self._tap = _Tap(self._last.resnets[-1], unet.conv_in.out_channels)
        unet.forward = self.forward

    def clear(self) -> None:
        """Forget all: what comes next are other latents."""
        self._kept.clear()
        self._tap.deep = torch.empty(0)

    def forward(self, z_BChw: Tensor, t: Tensor, text_BTD: Tensor, added_cond_kwargs: Any = None) -> Any:
        """As the U-Net's own; features of a batch of another size (guidance has ended) are not used."""
        age, deep = self._kept.get(self.key, (self._interval, z_BChw))
        if age < self._interval and len(deep) == len(z_BChw):
            self._kept[self.key] = age + 1, deep
            return UNet2DConditionOutput(sample=self._outermost(z_BChw, t, text_BTD, added_cond_kwargs, deep))
        made = self._whole(z_BChw, t, text_BTD, added_cond_kwargs=added_cond_kwargs)
        self._kept[self.key] = 1, self._tap.deep
        return made

    def _outermost(self, z: Tensor, t: Tensor, text: Tensor, conditions: Any, deep: Tensor) -> Tensor:
        unet, last = self._unet, self._last
        embedded = unet.time_embedding(unet.get_time_embed(z, t))
        added = unet.get_aug_embed(embedded, text, conditions)
        embedded = embedded if added is None else embedded + added
        h = last.resnets[-1](torch.cat([deep, unet.conv_in(z)], 1), embedded)
        if attentions := getattr(last, "attentions", None):
            h = attentions[-1](h, encoder_hidden_states=text, return_dict=False)[0]
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(h)))


class _Tap(nn.Module):
    """The outermost layer of a decoder; keeps what came from deeper ones, which is in front of the skip connection."""

    def __init__(self, layer: nn.Module, skip_channels: int) -> None:
        super().__init__()
        self.layer, self.deep, self._skip = layer, torch.empty(0), skip_channels

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        self.deep = x[:, : -self._skip].clone()
        return self.layer(x, embedded)
