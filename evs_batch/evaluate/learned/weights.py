"""Read weights into a network: safetensors only; pickles are converted once, when the user asks for it."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evs_batch.evaluate.learned.files import CONVERT
from evs_batch.spec.errors import ModelError

Network = TypeVar("Network", bound=nn.Module)

NESTED = ("state_dict", "model")  # where training scripts put the weights beside the state of their optimiser


def read(path: Path) -> dict[str, Tensor]:
    """The named tensors of a safetensors file, as fp32."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            str(path), f"cannot be read as safetensors ({error})", "convert or download it again"
        ) from error
    return {name: tensor.float() for name, tensor in tensors.items()}


def fill(network: Network, tensors: Mapping[str, Tensor], path: Path) -> Network:
    """The network with exactly these tensors, for inference on the GPU if there is one."""
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = [name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)]
    if wrong:
        name = wrong[0]
        raise ModelError(
            str(path),
            f"{len(wrong)} tensors differ from the layout of the published file, the first is '{name}': "
            f"{found.get(name, 'missing')} instead of {wanted.get(name, 'nothing')}",
            f"take the published file and convert it: {CONVERT} FILE",
        )
    network.load_state_dict(tensors)
    return ready(network)


def ready(network: Network) -> Network:
    """The network for inference, on the GPU if there is one."""
    return network.to("cuda" if torch.cuda.is_available() else "cpu").eval().requires_grad_(False)


def device_of(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def convert_pickle(path: Path) -> Path:
    """Write the tensors of a pickle beside it as safetensors; torch's restricted reader runs none of its code."""
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in _unpickled(path).items()}
    target = path.with_suffix(".safetensors")
    unfinished = target.with_suffix(".unfinished")
    save_file(tensors, unfinished)
    os.replace(unfinished, target)
    return target


def _unpickled(path: Path) -> dict[str, Tensor]:
    fix = "check that it is complete and comes from where its authors publish it"
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(str(path), f"cannot be read as a pickle of tensors alone ({reason})", fix) from error
    for key in NESTED:
        content = content.get(key, content) if isinstance(content, Mapping) else content
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not tensors:
        raise ModelError(str(path), "has no named tensors", fix)
    return tensors
