"""Builders of small random weights in the published layouts."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

WriteWeights = Callable[[nn.Module, str], Path]


@pytest.fixture
def write_weights(tmp_path: Path) -> WriteWeights:
    """Write a network's random weights under a file name, and return the folder."""

    def write(network: nn.Module, name: str) -> Path:
        save_file(randomised(network).state_dict(), tmp_path / name)
        return tmp_path

    return write


def randomised(network: nn.Module, spread: float = 0.1, seed: int = 0) -> nn.Module:
    """The network with random weights: norms near 1, everything else near 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            weight.copy_(centre + spread * torch.randn(weight.shape, generator=generator))
    return network.eval()
