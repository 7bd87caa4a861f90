"""Networks on a processor's cores give what they give as diffusers has them."""

import copy
from typing import Any

import pytest
import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import nn

from evs_batch.models import cores, loading, zoo
from evs_batch.models.hardware import Hardware
from evs_batch.models.parts import T2I, T2V

TINY, MOTION = zoo.t2i_source("tiny"), zoo.t2v_source("tiny")


def t2i() -> Any:
    return loading.load_unet(TINY).eval()


def t2v() -> Any:
    return loading.load_motion_unet(MOTION, loading.load_unet(TINY)).eval()


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(("load", "shape"), [(t2i, (4, 8, 16)), (t2v, (4, 6, 8, 16))])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@torch.inference_mode()
def test_the_result_differs_by_rounding_alone(load: Any, shape: tuple[int, ...], rows: int, order: torch.memory_format):
    z, frames = torch.randn(rows, *shape), shape[1] if len(shape) > 3 else 1
    text = torch.randn(rows * frames, 24, 64)
    usual, ours = load(), load().to(memory_format=order)
    cores.suit_cores(ours)
    found, expected = (unet(z, torch.tensor(300), text).sample for unet in (ours, usual))
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


@torch.inference_mode()
def test_small_pictures_in_bf16_are_normed_in_fp32():
    norm, x = nn.GroupNorm(2, 8).bfloat16(), 20 + torch.randn(2, 8, 4, 4).bfloat16()
    exact = nn.GroupNorm(2, 8)(x.float())
    cores.suit_cores(nn.Sequential(norm))
    assert norm(x).dtype is torch.bfloat16
    assert torch.equal(norm(x), exact.bfloat16())
    large = torch.randn(1, 8, 32, 32).bfloat16()
    assert torch.equal(norm(large), nn.functional.group_norm(large, 2, norm.weight, norm.bias))


@torch.inference_mode()
def test_gates_are_products_of_their_own(monkeypatch: pytest.MonkeyPatch):
    gated, x, widths = GEGLU(8, 32), torch.randn(2, 5, 8), list[int]()
    expected, linear = gated(x), cores.linear
    monkeypatch.setattr(cores, "linear", lambda x, weight, bias: widths.append(len(weight)) or linear(x, weight, bias))
    cores.suit(gated)
    assert torch.allclose(gated(x), expected, atol=1e-6)
    assert widths == [32, 32]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("network", [nn.Linear(8, 6), nn.Linear(8, 6, bias=False), GEGLU(8, 6)])
@torch.inference_mode()
def test_compiled_products_leave_the_bias_to_what_comes_after(
    network: nn.Module, compiled: bool, monkeypatch: pytest.MonkeyPatch
):
    x, biases, linear = torch.randn(2, 5, 8), list[bool](), cores.linear
    expected = network(x)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiled)
    monkeypatch.setattr(cores, "linear", lambda x, *parts: biases.append(len(parts) > 1) or linear(x, *parts))
    cores.suit_cores(ours := nn.Sequential(copy.deepcopy(network)))
    assert torch.allclose(ours(x), expected, atol=1e-6)
    own = isinstance(network, GEGLU) or network.bias is not None
    assert set(biases) == ({not compiled} if own else set())


@pytest.mark.parametrize("width", [cores.LANES // 2, cores.LANES])
@torch.inference_mode()
def test_heads_of_any_width_attend_as_in_pytorch(width: int):
    layer, x = Attention(2 * width, heads=2, dim_head=width), torch.randn(3, 5, 2 * width)
    expected = layer(x)
    cores.suit(layer)
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_attention_that_has_a_processor_of_its_own_keeps_it():
    layers = nn.ModuleList([Attention(8, heads=2, dim_head=4), Attention(8, heads=2, dim_head=4)])
    mine: Any = layers[0]
    mine.set_processor(own := type("Own", (), {})())
    cores.suit_cores(layers)
    assert mine.processor is own
    assert isinstance(layers[1].processor, cores.ShortAttention)


@pytest.mark.parametrize(("keys", "masked"), [(cores.SHORT_KEYS, True), (cores.SHORT_KEYS + 1, False)])
@torch.inference_mode()
def test_long_or_masked_attention_is_left_to_pytorch(keys: int, masked: bool, monkeypatch: pytest.MonkeyPatch):
    layer, seen = Attention(8, heads=2, dim_head=4), torch.randn(1, keys, 8)
    mask = torch.zeros(1, 1, keys) if masked else None
    expected = layer(seen[:, :5], seen, attention_mask=mask)
    calls = []
    monkeypatch.setattr(
        AttnProcessor2_0, "__call__", lambda *args, of=AttnProcessor2_0.__call__: calls.append(1) or of(*args)
    )
    cores.suit_cores(nn.Sequential(layer))
    assert torch.equal(layer(seen[:, :5], seen, attention_mask=mask), expected)
    assert calls


@pytest.mark.parametrize(("kind", "suited"), [("cpu", True), ("meta", False)])
def test_networks_on_a_processor_are_suited_and_others_are_not(
    kind: str, suited: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Hardware, "place", lambda _self, model: model)
    hardware = Hardware(torch.device(kind), torch.float32)
    t2i_unet, t2v_unet = T2I(t2i(), hardware, 16)._unet, T2V(t2v(), hardware)._unet
    for unet in (t2i_unet, t2v_unet):
        processors = [module.processor for module in unet.modules() if isinstance(module, Attention)]
        assert {isinstance(processor, cores.ShortAttention) for processor in processors} == {suited}


@pytest.mark.parametrize("options", [{"residual_connection": True}, {"norm_num_groups": 2}, {"qk_norm": "layer_norm"}])
def test_attention_that_does_more_than_attend_stays_as_it_is(options: dict[str, Any]):
    layer = Attention(8, heads=2, dim_head=4, **options)
    cores.suit(layer)
    assert type(layer.processor) is AttnProcessor2_0
