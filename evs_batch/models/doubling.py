"""Decoders that convolve pictures before they double them: the same but for rounding, with 4/9 of the products."""

from itertools import pairwise
from typing import Any

from diffusers.models.upsampling import Upsample2D
from torch import nn
from torch.nn.functional import avg_pool2d, pad

SMOOTHING = {
    "kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1), "padding_mode": "zeros", "dilation": (1, 1), "groups": 1
}  # fmt: skip


def double_last(network: nn.Module) -> None:
    """Make repeated pixels and the convolution of 3x3 after them a single transposed convolution.

    It has weights of its own, so a U-Net, whose weights T2I and T2V share, is better left as it is.
    """
    for module in [*network.modules()]:
        if isinstance(module, Upsample2D) and module.interpolate and module.name == "conv" and _smooths(module.conv):
            module.conv, module.use_conv_transpose = _doubling(module.conv), True
        elif isinstance(module, nn.Sequential):
            for at, (layer, after) in enumerate(pairwise(module)):
                if _repeats(layer) and _smooths(after):
                    module[at], module[at + 1] = nn.Identity(), _doubling(after)


def _repeats(layer: Any) -> bool:
    return isinstance(layer, nn.Upsample) and (layer.mode, layer.scale_factor) == ("nearest", 2)


def _smooths(layer: Any) -> bool:
    """Whether it is a convolution of 3x3 that keeps the size of pictures."""
    return type(layer) is nn.Conv2d and all(getattr(layer, key) == value for key, value in SMOOTHING.items())


def _doubling(conv: Any) -> nn.ConvTranspose2d:
    """Each pixel that it makes sees 2x2 different ones, so weights of the same one are added: 4x4, 2x2 for each."""
    made = nn.ConvTranspose2d(conv.in_channels, conv.out_channels, 4, 2, 1, bias=conv.bias is not None, device="meta")
    flipped = pad(conv.weight.detach().float().flip(2, 3).transpose(0, 1), (1, 1, 1, 1))
    made.weight = nn.Parameter(avg_pool2d(flipped, 2, 1, divisor_override=1).to(conv.weight.dtype), requires_grad=False)
    made.bias = conv.bias
    return made.eval()
