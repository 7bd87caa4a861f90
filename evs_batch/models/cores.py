"""What networks do in another way on a processor's cores: the same but for rounding, in less time."""

# B rows of a batch, F frames of a window, C channels, h/w latent cells, L places, R places of all rows,
# K keys, D width of a head

import math
from functools import partial, singledispatch
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor, nn
from torch.nn.functional import gelu, group_norm, linear

LARGE_CELLS = 1024  # of a picture
LANES = 16  # of a vector of fp32: narrower heads are the left side of a product, where they cost less
SHORT_KEYS = 64  # up to so many, two batched products for each head are faster than PyTorch's fused attention


def suit_cores(unet: nn.Module) -> None:
    """Change short attention, motion modules, gates and norms; attention that has a processor of its own stays."""
    for module in unet.modules():
        suit(module)


@singledispatch
def suit(module: nn.Module) -> None:
    """Change a single module, if it is of a kind that has another way."""


@suit.register
def _(attn: Attention) -> None:
    others = (attn.group_norm, attn.spatial_norm, attn.norm_cross, attn.norm_q, attn.norm_k)
    plain = not any(others) and not attn.residual_connection and attn.rescale_output_factor == 1
    if plain and isinstance(attn.processor, AttnProcessor2_0):
        attn.set_processor(ShortAttention())  # pyright: ignore[reportArgumentType]


@suit.register
def _(motion: AnimateDiffTransformer3D) -> None:
    motion.forward = partial(_along_time, motion)  # pyright: ignore[reportAttributeAccessIssue]


@suit.register
def _(gated: GEGLU) -> None:
    if isinstance(gated.proj, nn.Linear) and gated.proj.bias is not None:
        projection: Any = gated.proj  # does it all: where layers are offloaded, it has its weights when it is called
        projection.forward = partial(_gated, projection)
        gated.forward = projection.__call__


@suit.register
def _(layer: nn.Linear) -> None:
    if layer.bias is not None and "forward" not in vars(layer):  # a gate's projection has its own
        layer.forward = partial(_projected, layer)  # pyright: ignore[reportAttributeAccessIssue]


@suit.register
def _(norm: nn.GroupNorm) -> None:
    if norm.affine:
        norm.forward = partial(_normed, norm)  # pyright: ignore[reportAttributeAccessIssue]


class ShortAttention:
    """What diffusers calls for one attention layer of a transformer block; long ones are left to PyTorch."""

    def __init__(self) -> None:
        self._base = AttnProcessor2_0()

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, attention_mask: Any = None
    ) -> Tensor:
        h_BLC, seen_BKC = hidden_states, hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if seen_BKC.shape[1] > SHORT_KEYS or attention_mask is not None:
            return self._base(attn, h_BLC, encoder_hidden_states, attention_mask)

        def heads(x_BLC: Tensor) -> tuple[Tensor, ...]:
            """(B, L, D) each, in their places among the others."""
            return x_BLC.float().chunk(attn.heads, -1)

        each = zip(heads(attn.to_q(h_BLC)), heads(attn.to_k(seen_BKC)), heads(attn.to_v(seen_BKC)), strict=True)
        return attn.to_out[0](torch.cat([_attend(q, k, v) for q, k, v in each], -1).to(h_BLC.dtype))


def _attend(q_BLD: Tensor, k_BKD: Tensor, v_BKD: Tensor) -> Tensor:
    """Attention of one head; the sum over keys is quicker across rows than along them."""
    q_BDL, scale = q_BLD.transpose(1, 2), q_BLD.shape[-1] ** -0.5
    weights_BKL = torch.baddbmm(q_BLD.new_empty(()), k_BKD, q_BDL, beta=0, alpha=scale).softmax(1)
    if v_BKD.shape[-1] < LANES:
        return torch.bmm(v_BKD.transpose(1, 2), weights_BKL).transpose(1, 2)
    return torch.bmm(weights_BKL.transpose(1, 2), v_BKD)


def _projected(layer: nn.Linear, h_BLC: Tensor) -> Tensor:
    return _product(h_BLC, layer.weight, layer.bias)


def _product(h_BLC: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """PyTorch copies the bias first; compiled code adds it with what comes after the product."""
    if torch.compiler.is_compiling():
        return (linear(h_BLC, weight).float() + bias.float()).to(h_BLC.dtype)
    return linear(h_BLC, weight, bias)


def _gated(proj: nn.Linear, h_BLC: Tensor) -> Tensor:
    """As `GEGLU.forward`, with a product for each half, so that both are in one piece."""
    weight, gate = proj.weight.chunk(2)
    bias, gate_bias = proj.bias.chunk(2)
    return _product(h_BLC, weight, bias).mul_(gelu(_product(h_BLC, gate, gate_bias)))


def _normed(norm: nn.GroupNorm, x_BChw: Tensor) -> Tensor:
    """Of small pictures in fp32: PyTorch's way for them is several times slower in bf16."""
    groups, weight, bias, eps = norm.num_groups, norm.weight, norm.bias, norm.eps
    if x_BChw.dtype != torch.bfloat16 or math.prod(x_BChw.shape[2:]) >= LARGE_CELLS:
        return group_norm(x_BChw, groups, weight, bias, eps)
    return group_norm(x_BChw.float(), groups, weight.float(), bias.float(), eps).bfloat16()


def _along_time(module: Any, hidden_states: Tensor, *unused: Any, num_frames: int = 0) -> Tensor:
    """As `AnimateDiffTransformer3D.forward`, with two copies of whole rows of channels instead of four of numbers.

    Its layers see nothing of text and timestep; called by place, the number of frames is behind them and the label.
    """
    num_frames = num_frames or unused[3]
    _, channels, height, width = hidden_states.shape
    tall = (-1, num_frames * height, width, channels)  # a window as one picture: norms are over all of its frames
    x_BChw = hidden_states.permute(0, 2, 3, 1).reshape(tall).permute(0, 3, 1, 2)
    x_BhwC = module.norm(x_BChw).permute(0, 2, 3, 1)
    x_BFLC = module.proj_in(x_BhwC.reshape(-1, num_frames, height * width, channels))
    x_RFC = x_BFLC.transpose(1, 2).reshape(-1, num_frames, x_BFLC.shape[-1])
    for block in module.transformer_blocks:
        x_RFC = block(hidden_states=x_RFC)
    x_BLFC = x_RFC.unflatten(0, (-1, height * width))
    made_BFLC = module.proj_out(x_BLFC.transpose(1, 2).contiguous())
    return made_BFLC.reshape(-1, height, width, channels).permute(0, 3, 1, 2) + hidden_states
