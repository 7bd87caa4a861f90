"""Products of transformer blocks in 8 bits (e4m3): weights are scaled by output channel, inputs by row.

As `torchao` and TensorRT do for other networks; the sums are in fp32, what comes out is in bf16.
"""

# R rows, I/O channels in and out

from typing import Any

import torch
import torch.nn.functional as nnf
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

from evs_batch.spec.errors import ModelError

E4M3 = torch.float8_e4m3fn
LARGEST = torch.finfo(E4M3).max
MULTIPLE = 16  # that channels must be of
OLDEST = (8, 9)  # compute capability


class Product8(nn.Module):
    """A linear layer. Weights and scales are kept as integers, which no change of a network's precision touches."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight_OI, scale_O1 = in_8_bits(linear.weight)
        self.weight = nn.Parameter(weight_OI.view(torch.uint8), requires_grad=False)
        self.scale = nn.Parameter(scale_O1.view(torch.int32), requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        x_RI, scale_R1 = in_8_bits(x.flatten(0, -2))
        weight_IO, scale_1O = self.weight.view(E4M3).t(), self.scale.view(torch.float32).t()
        bias = None if self.bias is None else self.bias.bfloat16()
        row = nnf.ScalingType.RowWise
        made_RO = nnf.scaled_mm(x_RI, weight_IO, scale_R1, row, scale_1O, row, bias=bias)
        return made_RO.unflatten(0, x.shape[:-1]).to(x.dtype)


def in_8_bits(x_RI: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in e4m3, and the fp32 number for each (R, 1) that they are to be multiplied with."""
    scale_R1 = (x_RI.abs().amax(-1, keepdim=True).float() / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
    return (x_RI.float() / scale_R1).to(E4M3), scale_R1


def in_fp8(unet: nn.Module) -> None:
    """Put the layers of transformer blocks into fp8; `unet`'s modules are its own."""
    for block in unet.modules():
        if isinstance(block, BasicTransformerBlock):
            _change(block)


def _change(module: Any) -> None:
    for name, child in module.named_children():
        if type(child) is nn.Linear and not (child.in_features % MULTIPLE or child.out_features % MULTIPLE):
            setattr(module, name, Product8(child))
        else:
            _change(child)


def has_fp8(device: torch.device) -> bool:
    """Whether torch and a GPU have such products; on a processor torch does them step by step."""
    able = device.type != "cuda" or torch.cuda.get_device_capability(device) >= OLDEST
    return hasattr(nnf, "scaled_mm") and able


def check_fp8(device: torch.device) -> None:
    """Raise ModelError where fp8 products are missing."""
    if not hasattr(nnf, "scaled_mm"):
        raise ModelError("t2i.fp8=true", f"is not there in torch {torch.__version__}", "install a newer one")
    if not has_fp8(device):
        raise ModelError(
            "t2i.fp8=true", f"needs a GPU with fp8 (Ada, Hopper or newer), not {torch.cuda.get_device_name(device)}",
            "leave it out, or ask for other nodes with runtime.labels",
        )  # fmt: skip
