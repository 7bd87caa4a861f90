"""Pictures that are doubled last are as those that are doubled first."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from diffusers.models.upsampling import Upsample2D
from torch import nn

from evs_batch.models import loading, zoo
from evs_batch.models.doubling import double_last
from evs_batch.models.hardware import Hardware
from evs_batch.models.parts import Vae
from tests.models import checkpoints


def doubled_by(layers: nn.Sequential) -> list[type[nn.Module]]:
    double_last(layers)
    return [type(layer) for layer in layers]


@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_doubled_pictures_are_convolved_before_they_are_large(bias: bool):
    x = torch.randn(2, 3, 5, 7)
    layers, block = (
        nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 4, 3, padding=1, bias=bias)),
        Upsample2D(3, use_conv=True, out_channels=4, bias=bias),
    )
    usual = layers(x), block(x)
    assert doubled_by(layers) == [nn.Identity, nn.ConvTranspose2d]
    double_last(block)
    assert type(block.conv) is nn.ConvTranspose2d
    for found, expected in zip((layers(x), block(x)), usual, strict=True):
        assert found.shape == (2, 4, 10, 14)
        assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Upsample(scale_factor=3), nn.Conv2d(3, 3, 3, padding=1)),
        (nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(3, 3, 3, padding=1)),
        (nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 3)),
        (nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 3, padding=1, groups=3)),
        (nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 1)),
        (nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular")),
        (nn.Upsample(scale_factor=2), nn.ReLU()),
    ],
)
def test_other_ways_to_enlarge_stay_as_they_are(layers: tuple[nn.Module, ...]):
    assert doubled_by(nn.Sequential(*layers)) == [type(layer) for layer in layers]


@pytest.mark.parametrize("options", [{}, {"use_conv": True, "name": "other"}, {"use_conv": True, "interpolate": False}])
def test_other_upsamplers_stay_as_they_are(options: dict[str, Any]):
    block, x = Upsample2D(3, **options).requires_grad_(False), torch.randn(1, 3, 2, 2)
    expected = block(x)
    double_last(block)
    assert torch.equal(block(x), expected)


@pytest.mark.parametrize("load", [partial(loading.load_vae, zoo.t2i_source("tiny")), checkpoints.vae])
@torch.inference_mode()
def test_decoders_give_what_they_give_as_diffusers_has_them(load: Callable[[], Any]):
    vae, z = load().eval(), torch.randn(2, 4, 8, 6)
    expected = vae.decode(z).sample
    double_last(vae)
    assert any(isinstance(module, nn.ConvTranspose2d) for module in vae.decoder.modules())
    assert torch.allclose(vae.decode(z).sample, expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(("kind", "made"), [("cpu", nn.ConvTranspose2d), ("meta", nn.Conv2d)])
def test_decoders_on_a_processor_are_suited_and_others_are_not(kind: str, made: type, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Hardware, "place", lambda _self, model: model)
    vae: Any = Vae(loading.load_vae(zoo.t2i_source("tiny")), Hardware(torch.device(kind), torch.float32))._vae
    doubling = {type(layer) for layer in vae.decoder.layers} & {nn.Upsample, nn.ConvTranspose2d}
    assert doubling == {nn.ConvTranspose2d if made is nn.ConvTranspose2d else nn.Upsample}
