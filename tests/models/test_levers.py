"""What makes a T2I faster: guidance with one beginning for both halves, kept features, fewer keys, compiled blocks."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evs_batch.models import compiling
from evs_batch.models.hardware import Hardware
from evs_batch.models.parts import T2I
from evs_batch.spec.passes import t2i_passes
from evs_batch.spec.recipe import load_recipe
from evs_batch.spec.work import Clip
from evs_batch.stages.inline import load_enhancer
from evs_batch.tiny import architecture
from tests.models import checkpoints

CPU = Hardware(torch.device("cpu"), torch.float32)
FRAMES, STEPS = 6, torch.tensor([900, 700, 500, 300, 100])
RANDOM = torch.Generator().manual_seed(0)
TEXT = torch.randn(2, 7, checkpoints.TEXT_WIDTH, generator=RANDOM)
Z = torch.randn(len(STEPS), FRAMES, 4, 8, 8, generator=RANDOM)


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return architecture.build_unet()


def predicted(unet: Any, scale: Callable[[Tensor], float], hardware: Hardware = CPU, **levers: int) -> list[Tensor]:
    """What a T2I gives for the frames of two clips at each step."""
    t2i = T2I(unet.eval(), hardware, frames_per_forward=4, **levers)
    text = TEXT[..., : unet.config.cross_attention_dim]
    model = t2i.prompted(text, text.flip(0), scale, [4, 2])
    return [model(z, t) for z, t in zip(Z, STEPS, strict=True)]


def by_hand(unet: Any, scale: Callable[[Tensor], float]) -> list[Tensor]:
    """The same by two passes of the U-Net as it comes."""
    text = TEXT[..., : unet.config.cross_attention_dim].repeat_interleave(torch.tensor([4, 2]), 0)
    negative = TEXT.flip(0)[..., : unet.config.cross_attention_dim].repeat_interleave(torch.tensor([4, 2]), 0)
    found = []
    with torch.inference_mode():
        for z, t in zip(Z, STEPS, strict=True):
            with_prompt, without = unet(z, t, text).sample, unet(z, t, negative).sample
            found.append(without + scale(t) * (with_prompt - without))
    return found


def differences(some: list[Tensor], others: list[Tensor]) -> list[float]:
    return [float((a - b).norm() / b.norm()) for a, b in zip(some, others, strict=True)]


@pytest.mark.parametrize("build", [checkpoints.unet, tiny])
def test_guidance_is_that_of_two_passes_and_may_end(build: Callable[[], Any]):
    for scale in (lambda _: 1.0, lambda _: 4.0, lambda t: 4.0 if t > 400 else 1.0):
        assert max(differences(predicted(build(), scale), by_hand(build().eval(), scale))) < 1e-4


def test_what_comes_before_text_is_computed_once_for_both_halves():
    unet = checkpoints.unet()
    t2i, rows = T2I(unet, CPU, frames_per_forward=4), list[int]()
    first: Any = t2i._unet.down_blocks[0]
    for module in (first.resnets[0].conv1, first.attentions[0].transformer_blocks[0].attn1.to_q):
        module.register_forward_pre_hook(lambda _module, args: rows.append(len(args[0])))
    for scale in (3.0, 1.0):
        t2i.prompted(TEXT, TEXT, lambda _, scale=scale: scale, [2, 2])(Z[0, :4], STEPS[0])
    assert rows == [4] * 4, "not 8 with guidance"


@pytest.mark.parametrize("build", [checkpoints.unet, tiny])
def test_kept_features_are_used_between_whole_passes_and_not_across_the_end_of_guidance(build: Callable[[], Any]):
    def scale(t: Tensor) -> float:
        return 4.0 if t > 400 else 1.0

    whole, cached = predicted(build(), scale), predicted(build(), scale, cache_interval=2)
    kept = [difference > 1e-4 for difference in differences(cached, whole)]
    assert kept == [False, True, False, False, True], "the fourth step is the first one without guidance"


def test_kept_features_are_those_of_the_same_frames():
    unet = checkpoints.unet().eval()
    still = Z[:1].expand_as(Z)
    t2i = T2I(unet, CPU, frames_per_forward=4, cache_interval=5)
    model = t2i.prompted(TEXT, TEXT.flip(0), lambda _: 4.0, [4, 2])
    first, again = (model(z, STEPS[0]) for z in still[:2])
    assert torch.allclose(first, again, atol=1e-5), "nothing has changed, so what was kept is what would be computed"
    other = t2i.prompted(TEXT, TEXT.flip(0), lambda _: 4.0, [4, 2])(Z[1], STEPS[0])
    assert torch.allclose(other, T2I(unet, CPU, 4).prompted(TEXT, TEXT.flip(0), lambda _: 4.0, [4, 2])(Z[1], STEPS[0]),
                          atol=1e-5), "the next visit begins anew"  # fmt: skip


@pytest.mark.parametrize("build", [checkpoints.unet, tiny])
def test_fewer_keys_change_the_finest_attention_alone(build: Callable[[], Any]):
    def scale(_: Tensor) -> float:
        return 4.0

    whole, fewer = predicted(build(), scale), predicted(build(), scale, token_downsampling=2)
    assert all(1e-4 < difference < 1 for difference in differences(fewer, whole))
    flat = torch.ones(4, 1, 1, 1) * Z[0, :4, :, :1, :1].expand(-1, -1, 8, 8)
    t2i = T2I(build().eval(), CPU, 4, token_downsampling=2)
    queries, keys = list[int](), list[int]()
    for name, module in t2i._unet.named_modules():
        if name.endswith("attn1.to_q"):
            module.register_forward_pre_hook(lambda _, args: queries.append(args[0].shape[1]))
        if name.endswith("attn1.to_k"):
            module.register_forward_pre_hook(lambda _, args: keys.append(args[0].shape[1]))
    t2i.prompted(TEXT[..., : t2i._unet.config.cross_attention_dim], TEXT, lambda _: 1.0, [2, 2])(flat, STEPS[0])
    cells = list(zip(queries, keys, strict=True))
    finest = max(queries)
    assert all(seen == (query // 4 if query == finest else query) for query, seen in cells)


@pytest.mark.parametrize("fp8", [False, True])
def test_compiled_blocks_give_what_eager_ones_do(fp8: bool, monkeypatch: pytest.MonkeyPatch):
    """Traced and run by PyTorch itself: to write machine code takes a compiler, and minutes."""
    compiled, right = list[str](), nn.Module.compile

    def compile_here(module: nn.Module, **options: Any) -> None:
        compiled.append(type(module).__name__)
        right(module, backend="eager", **options)

    monkeypatch.setattr(nn.Module, "compile", compile_here)

    def scale(t: Tensor) -> float:
        return 4.0 if t > 400 else 1.0

    hardware = Hardware(CPU.device, CPU.dtype, compile="dynamic")
    levers = {"cache_interval": 2, "token_downsampling": 2, "fp8": fp8}
    found, wanted = predicted(tiny(), scale, hardware, **levers), predicted(tiny(), scale, **levers)
    assert max(differences(found, wanted)) < 1e-5
    assert set(compiled) <= compiling.ON_CORES
    assert {"Upsample2D", "Transformer2DModel"} <= set(compiled)


def test_passes_are_counted_as_they_are_run():
    changes = ["t2i.cache_interval=3", "t2i.guidance_stop=0.4"]
    recipe = load_recipe("enhance", changes)
    assert (recipe.t2i.executed_steps, recipe.t2i.guided_steps) == (20, 8)
    # 12 steps before the switch: 8 with guidance, whole at 0, 3, 6; then without, whole at 8 and 11. 8 steps after it.
    assert [t2i_passes(recipe, visit) for visit in (0, 1)] == [(2 * 3 + 2, 2 * 5 + 2), (3, 5)]
    usual = load_recipe("enhance")
    assert [t2i_passes(usual, visit) for visit in (0, 1)] == [(24, 0), (16, 0)]


def test_a_runner_makes_the_passes_that_are_counted_and_takes_its_keys_from_fewer_places():
    """Of the tiny T2I, whose lowest level is part of whole passes alone."""
    changes = [
        "composition=T2I",
        "t2i.steps=50",
        "t2i.strength=0.2",
        "t2i.guidance=2.0",
        "runtime.frames_per_forward=2",
    ]
    levers = ["t2i.cache_interval=3", "t2i.guidance_stop=0.4", "t2i.token_downsampling=2"]
    recipe = load_recipe("demo", [*changes, *levers])
    enhancer = load_enhancer(recipe)
    t2i: Any = enhancer.runners["t2i"]
    unet, rows = t2i.t2i._unet, {"whole": 0, "all": 0}
    assert t2i.t2i._fewer is not None

    def count(name: str) -> Callable[..., None]:
        return lambda _module, args: rows.update({name: rows[name] + len(args[0])})

    unet.mid_block.register_forward_pre_hook(count("whole"))
    unet.conv_out.register_forward_pre_hook(count("all"))
    enhancer([np.zeros((2, 32, 32, 3), np.uint8)], [Clip(id="a", uri="", prompt="a star", seed=0)])
    whole, outermost = t2i_passes(recipe, 0)
    assert outermost > 0
    assert rows == {"whole": 2 * whole, "all": 2 * (whole + outermost)}


def test_a_recipe_without_guidance_has_no_guided_steps():
    guided = [load_recipe("enhance", [f"t2i.guidance_stop={stop}"]).t2i.guided_steps for stop in (0.0, 0.5, 1.0)]
    assert all(a < b for a, b in pairwise(guided))
    assert load_recipe("enhance", ["t2i.guidance=1.0"]).t2i.guided_steps == 0
