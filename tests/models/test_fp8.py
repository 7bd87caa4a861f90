"""Products in 8 bits: near the exact ones for each row and channel, in transformer blocks alone, in T2I alone."""

from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from torch import nn

import evs_batch
from evs_batch.models import loading, zoo
from evs_batch.models.fp8 import Product8, check_fp8, in_fp8
from evs_batch.models.hardware import Hardware
from evs_batch.models.parts import T2I
from evs_batch.spec.errors import ModelError
from evs_batch.stages.inline import load_enhancer

CPU = Hardware(torch.device("cpu"), torch.bfloat16)


def layers(network: nn.Module, kind: type[nn.Module]) -> set[str]:
    return {name for name, module in network.named_modules() if type(module) is kind}


@torch.inference_mode()
def test_each_row_and_channel_has_a_scale_of_its_own():
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 32, bias=False), torch.randn(2, 50, 64)
    of_row, of_channel = torch.logspace(-6, 6, 50)[:, None], torch.logspace(-4, 4, 32)
    linear.weight *= of_channel[:, None]
    found, exact = (product(x * of_row) / of_row / of_channel for product in (Product8(linear), linear))
    for along in (-1, (0, 1)):
        assert ((found - exact).norm(dim=along) / exact.norm(dim=along) > 0.01).all()
        assert ((found - exact).norm(dim=along) / exact.norm(dim=along) < 0.06).all()


@torch.inference_mode()
def test_a_bias_is_added_and_rows_of_zeros_are_nothing_special():
    linear = nn.Linear(16, 16)
    assert torch.allclose(Product8(linear)(torch.zeros(4, 16)), linear.bias.expand(4, 16), atol=0.01)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(bad: float):
    x = torch.ones(2, 16)
    x[1, 3] = bad
    found = Product8(nn.Linear(16, 16).requires_grad_(False))(x)
    assert torch.isfinite(found[0]).all()
    assert not torch.isfinite(found[1]).any()


def test_layers_of_transformer_blocks_are_changed_and_none_that_another_model_uses():
    unet: Any = loading.load_unet(zoo.t2i_source("tiny"))
    before = layers(unet, nn.Linear)
    t2i = T2I(unet, CPU, 4, fp8=True)
    assert layers(unet, nn.Linear) == before
    changed = layers(t2i._unet, Product8)
    assert changed == {name for name in before if ".transformer_blocks." in name}
    assert any(name.endswith("ff.net.0.proj") for name in changed)
    assert not layers(T2I(unet, CPU, 4)._unet, Product8)


def test_channels_that_fp8_cannot_take_stay_as_they_are():
    block: Any = loading.load_unet(zoo.t2i_source("tiny")).mid_block.attentions[0]
    block.transformer_blocks[0].attn1.to_q = nn.Linear(24, 16)
    in_fp8(block)
    assert layers(block, nn.Linear) == {"transformer_blocks.0.attn1.to_q"}


@torch.inference_mode()
def test_a_change_of_precision_touches_no_weight():
    product = Product8(nn.Linear(32, 32, bias=False).bfloat16())
    x = torch.randn(4, 32).bfloat16()
    expected = product(x)
    assert {name for name, _ in product.named_parameters()} == {"weight", "scale"}, "which go where the network goes"
    assert torch.equal(product.float().bfloat16().to(memory_format=torch.channels_last)(x), expected)


@pytest.mark.parametrize(("changes", "changed"), [([], True), (["runtime.precision=fp32"], False)])
def test_a_recipe_asks_for_it_unless_it_asks_for_fp32(changes: list[str], changed: bool):
    enhancer = load_enhancer(evs_batch.load_recipe("demo", ["t2i.fp8=true", *changes]))
    models: Any = enhancer.runners
    assert bool(layers(models["t2i"].t2i._unet, Product8)) == changed
    assert not layers(models["t2v"].t2v._unet, Product8)


def test_missing_fp8_is_said_when_a_model_is_loaded(monkeypatch: pytest.MonkeyPatch):
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100")
    with pytest.raises(ModelError, match=r"t2i.fp8=true: needs a GPU with fp8 .*, not NVIDIA A100; leave it out"):
        check_fp8(gpu)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 9))
    check_fp8(gpu)
    monkeypatch.delattr(nnf, "scaled_mm")
    with pytest.raises(ModelError, match="is not there in torch"):
        check_fp8(gpu)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.inference_mode()
def test_a_gpu_gives_what_a_processor_does():
    product, x = Product8(nn.Linear(320, 2560).bfloat16()), torch.randn(2, 500, 320).bfloat16()
    expected, found = product(x), product.to("cuda")(x.to("cuda")).cpu()
    assert (found - expected).norm() < 0.01 * expected.norm()
