"""Where and in which precision a worker computes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Hardware:
    """A device and a floating-point type; latents and schedulers stay in fp32."""

    device: torch.device
    dtype: torch.dtype

    def place(self, model: Any) -> Any:
        """Make a model ready for inference here."""
        model = model.to(self.device, self.dtype).eval().requires_grad_(False)
        return model.to(memory_format=torch.channels_last)

    def __call__(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype)


def pick_hardware(precision: str, threads: int) -> Hardware:
    """The first GPU that this process may use, else `threads` CPU threads; fp32 where bf16 would be slower."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Hardware(device, torch.bfloat16 if precision == "bf16" and multiplies_bf16(device) else torch.float32)


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device has bf16 products; a processor without them is many times slower than in fp32."""
    if device.type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def in_chunks(call: Callable[..., Tensor], size: int, *tensors: Tensor) -> Tensor:
    """Run `call` on slices of exactly `size` rows; the last one is filled up with copies of its last row.

    One shape for every call: a row's result does not depend on how many others it came with.
    """
    count = len(tensors[0])
    results = []
    for at in range(0, count, size):
        rows = torch.arange(at, at + size).clamp(max=count - 1)
        results.append(call(*(tensor[rows] for tensor in tensors)))
    return torch.cat(results)[:count]
