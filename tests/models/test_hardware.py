"""Precision that the processor is fast in, and weights that come to the device when they are used."""

import gc
import inspect
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.downsampling import Downsample2D
from torch import nn

import evs_batch
from evs_batch.models import compiling, hardware
from evs_batch.models.fp8 import Product8
from evs_batch.models.parts import Vae
from evs_batch.spec.tables import Runtime
from evs_batch.spec.work import Clip
from evs_batch.stages.inline import enhance, load_enhancer
from tests.conftest import stripes
from tests.models import checkpoints

CPU = hardware.Hardware(torch.device("cpu"), torch.float32)


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
    assert hardware.pick_hardware(Runtime(precision=asked), threads=1).dtype == used


def test_networks_are_compiled_if_the_recipe_says_so_and_not_where_weights_come_and_go(monkeypatch):
    compiled = list[bool]()
    monkeypatch.setattr(hardware, "compile_blocks", lambda _model, dynamic, **_: compiled.append(dynamic))
    for runtime in (
        Runtime(), Runtime(compile="static"), Runtime(compile="dynamic"), Runtime(compile="static", offload="models")
    ):  # fmt: skip
        hardware.pick_hardware(runtime, threads=1).place(nn.Sequential(nn.Linear(4, 4)))
    assert compiled == [False, True]


@pytest.mark.parametrize(("device", "norms"), [("cpu", False), ("meta", True)])
def test_blocks_whose_compiled_norms_are_slow_on_cores_are_not_compiled_there(device: str, norms: bool, monkeypatch):
    found = list[frozenset[str]]()
    monkeypatch.setattr(hardware, "compile_blocks", lambda _model, kinds, **_: found.append(kinds))
    hardware.Hardware(torch.device(device), torch.float32, compile="static").place(nn.Linear(4, 4))
    assert ("ResnetBlock2D" in found[0]) == norms
    assert "Transformer2DModel" in found[0]


@pytest.mark.parametrize(("device", "options"), [("cpu", compiling.APART), ("meta", {})])
def test_blocks_on_cores_look_for_their_code_among_their_own(device: str, options: dict[str, Any], monkeypatch):
    """Each has code of its own there, so among that of all blocks most of what is looked at is another's."""
    assert bool(compiling.APART) == ("isolate_recompiles" in inspect.signature(torch.compile).parameters)
    found = list[dict[str, Any]]()
    monkeypatch.setattr(nn.Module, "compile", lambda _self, **given: found.append(given))
    network = nn.Sequential(nn.Sequential(Downsample2D(4), nn.Linear(4, 4)))
    hardware.Hardware(torch.device(device), torch.float32, compile="static").place(network)
    assert found == [{"dynamic": False, **options}]


def test_bf16_is_asked_of_this_processor():
    assert hardware.multiplies_bf16(torch.device("cpu")) == torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert hardware.multiplies_bf16(torch.device("cuda"))


@pytest.mark.parametrize(
    ("device", "compiled", "last"), [("cpu", "off", True), ("meta", "off", False), ("meta", "static", True)]
)
def test_weights_are_in_the_order_of_channels_where_that_is_fast(device: str, compiled: str, last: bool):
    held = hardware.Hardware(torch.device(device), torch.float32, compile=compiled).hold(nn.Conv2d(4, 4, 3))
    assert held.weight.is_contiguous(memory_format=torch.channels_last) == last


def test_offloaded_networks_take_turns_on_the_device():
    """On the CPU, where being on the device means to be a copy."""
    here = hardware.Hardware(torch.device("cpu"), torch.float32, "models")
    first, second = (here.place(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))) for _ in range(2))
    at_rest = {network: [tensor.data_ptr() for tensor in tensors(network)] for network in (first, second)}

    def on_device() -> list[bool]:
        return [[tensor.data_ptr() for tensor in tensors(network)] != at_rest[network] for network in (first, second)]

    assert on_device() == [False, False]
    first(torch.ones(2, 4))
    assert on_device() == [True, False]
    second(torch.ones(2, 4))
    second(torch.ones(2, 4))
    assert on_device() == [False, True], "nothing was copied back"


def test_what_does_not_fit_on_the_device_does_not_stay_by_half(monkeypatch: pytest.MonkeyPatch):
    network = hardware.Hardware(torch.device("cpu"), torch.float32, "models").place(nn.Sequential(nn.Linear(4, 4)))
    at_rest, copies = [tensor.data_ptr() for tensor in tensors(network)], iter([1])
    real = torch.Tensor.to

    def one_fits(tensor: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        if kwargs.get("copy") and next(copies, None) is None:
            raise torch.OutOfMemoryError("there is no room")
        return real(tensor, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "to", one_fits)
        with pytest.raises(torch.OutOfMemoryError):
            network(torch.ones(2, 4))
    assert [tensor.data_ptr() for tensor in tensors(network)] == at_rest
    assert network(torch.ones(2, 4)).shape == (2, 4), "it may come later"


def test_a_network_that_nobody_uses_any_more_goes():
    network = hardware.Hardware(torch.device("cpu"), torch.float32, "models").place(nn.Sequential(nn.Linear(4, 4)))
    network(torch.ones(2, 4))
    weight = weakref.ref(network[0].weight)
    del network
    gc.collect()
    assert weight() is None


def tensors(network: nn.Module) -> list[torch.Tensor]:
    return [*network.parameters(), *network.buffers()]


@pytest.mark.parametrize("layer", [nn.Linear(16, 16), Product8(nn.Linear(16, 16))])
def test_offloaded_layers_hold_no_weights_between_calls(layer: nn.Module):
    network = nn.Sequential(layer)
    hardware.Hardware(torch.device("cpu"), torch.float32, "layers").place(network)
    assert {tensor.device.type for tensor in tensors(network)} == {"meta"}
    assert network(torch.ones(1, 16)).device.type == "cpu"
    assert {tensor.device.type for tensor in tensors(network)} == {"meta"}


def test_an_autoencoder_may_work_tile_by_tile():
    frames_FHW3, vae, widths = torch.tensor(stripes(1, 64, 96)), checkpoints.vae(), list[int]()
    vae.decoder.register_forward_pre_hook(lambda _, inputs: widths.append(inputs[0].shape[-1]))
    whole = Vae(vae, CPU)
    z = whole.encode(frames_FHW3)
    expected = whole.decode(z)
    assert widths == [z.shape[-1]]
    vae.tile_latent_min_size, vae.tile_sample_min_size = 8, 8 * whole.factor_px
    assert Vae(vae, CPU, tiles=True).decode(z).shape == expected.shape
    assert max(widths[1:]) <= 8 < z.shape[-1]


@pytest.mark.parametrize("offload", ["models", "layers"])
@pytest.mark.parametrize(
    "changes", [["t2i.attention='first_frame'"], ["t2v.entry='ddim'", "sfi.enabled=true"], ["t2i.fp8=true"]]
)
def test_offloading_changes_no_pixel(offload: str, changes: list[str]):
    frames = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)
    short = ["t2v.switch_at=[2]", "t2v.window=4", "t2v.overlap=2", "runtime.frames_per_forward=4", *changes]
    plain = evs_batch.load_recipe("demo", short)
    offloaded = evs_batch.load_recipe("demo", [*short, f"runtime.offload={offload}"])
    assert plain.fingerprint == offloaded.fingerprint
    assert np.array_equal(enhance(frames, "a red star", offloaded), enhance(frames, "a red star", plain))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("offload", ["models", "layers"])
def test_offloading_takes_less_memory_of_the_gpu(offload: str):
    frames, peaks = np.zeros((2, 32, 32, 3), np.uint8), []
    for setting in ("none", offload):
        enhancer = load_enhancer(evs_batch.load_recipe("demo", [f"runtime.offload={setting}"]))
        torch.cuda.reset_peak_memory_stats()
        enhancer([frames], [Clip(id="a", uri="", prompt="a red star", seed=1)])
        peaks.append(torch.cuda.max_memory_allocated())
        del enhancer
        gc.collect()
    assert peaks[1] < peaks[0]
