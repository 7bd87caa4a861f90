"""One set of weights for two roles."""

from pathlib import Path

import pytest
import torch
from torch import nn

from evs_batch.models import loading, zoo
from evs_batch.models.hardware import Hardware
from evs_batch.models.places import Local
from evs_batch.spec.recipe import Lora, load_recipe
from evs_batch.stages import t2i, t2v
from tests.models import checkpoints

CPU = Hardware(torch.device("cpu"), torch.float32)


def held_bytes(*models: nn.Module) -> int:
    """Memory of all parameters and buffers, what is shared counted once."""
    storages = {s.data_ptr(): s.nbytes() for model in models for s in (t.untyped_storage() for t in _tensors(model))}
    return sum(storages.values())


def _tensors(model: nn.Module):
    return [*model.parameters(), *model.buffers()]


def pair(tmp_path: Path) -> tuple[zoo.T2ISource, zoo.T2VSource]:
    base = zoo.T2ISource(name="base", weights=Local(checkpoints.diffusers_folder(tmp_path / "base")))
    motion = Local(checkpoints.motion_folder(tmp_path / "motion"))
    return base, zoo.T2VSource(name="motion", base=base, motion=motion)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_t2v_on_the_t2i_adds_its_motion_module_only(dtype: torch.dtype, tmp_path: Path):
    base, source = pair(tmp_path)
    hardware = Hardware(torch.device("cpu"), dtype)
    spatial = loading.shared_unet(base, (), hardware)
    motion = hardware.place(loading.load_motion_unet(source, spatial))
    of_motion = held_bytes(checkpoints.motion().to(dtype))
    assert held_bytes(spatial, motion) == held_bytes(spatial) + of_motion
    assert held_bytes(motion) == held_bytes(spatial, motion), "the T2I costs nothing beside it"


def test_a_t2i_with_loras_has_weights_of_its_own(tmp_path: Path):
    base, _ = pair(tmp_path)
    plain = loading.shared_unet(base, (), CPU)
    assert loading.shared_unet(base, (), CPU) is plain
    other = zoo.T2ISource(name="other", weights=base.weights, loras=((Local(tmp_path / "none"), 1.0),))
    with pytest.raises(Exception, match="none"):
        loading.shared_unet(other, (), CPU)


@pytest.mark.parametrize("order", [(t2i, t2v), (t2v, t2i)])
def test_workers_of_both_roles_in_one_process_share_in_any_order(order: tuple):
    recipe = load_recipe("demo")
    first, second = (role.load(recipe, threads=1) for role in order)
    parts = [
        getattr(runner, name)._unet for runner in (first, second) for name in ("t2i", "t2v") if hasattr(runner, name)
    ]
    assert held_bytes(*parts) < 1.01 * max(map(held_bytes, parts))


def test_sharing_changes_no_prediction(tmp_path: Path):
    base, source = pair(tmp_path)
    shared = loading.load_motion_unet(source, loading.shared_unet(base, (), CPU))
    alone = loading.load_motion_unet(source, loading.load_unet(base))
    clip = torch.randn(1, 4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    text = torch.randn(4, 7, checkpoints.TEXT_WIDTH, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(shared(clip, 9, text).sample, alone(clip, 9, text).sample, atol=1e-5)


@pytest.mark.parametrize("loras", [(), (Lora(path="tiny-watercolor"),)])
def test_weights_are_rounded_once(loras: tuple[Lora, ...]):
    """LoRAs are merged in fp32; without them weights come as they are used."""
    half, source = Hardware(torch.device("cpu"), torch.bfloat16), zoo.t2i_source("tiny")
    exact, shared = loading.load_unet(source, loras).state_dict(), loading.shared_unet(source, loras, half)
    for name, weight in shared.state_dict().items():
        assert torch.equal(weight, exact[name].bfloat16()), name
