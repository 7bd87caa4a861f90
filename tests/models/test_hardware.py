"""Precision that the processor is fast in."""

import pytest
import torch

from evs_batch.models import hardware


@pytest.mark.parametrize(
    ("asked", "has_bf16", "used"),
    [
        ("bf16", True, torch.bfloat16),
        ("bf16", False, torch.float32),
        ("fp32", True, torch.float32),
        ("fp32", False, torch.float32),
    ],
)
def test_bf16_only_where_it_is_fast(monkeypatch, asked, has_bf16, used):
    monkeypatch.setattr(hardware, "multiplies_bf16", lambda _: has_bf16)
    assert hardware.pick_hardware(asked, threads=1).dtype == used


def test_bf16_is_asked_of_this_processor():
    assert hardware.multiplies_bf16(torch.device("cpu")) == torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert hardware.multiplies_bf16(torch.device("cuda"))
