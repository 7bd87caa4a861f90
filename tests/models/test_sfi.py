"""Selective Feature Injection on the shipped T2V."""

from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from accelerate import init_empty_weights
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter, UNetMotionModel

from evs_batch.algo import evs
from evs_batch.models import loading, zoo
from evs_batch.models.hardware import Hardware
from evs_batch.models.parts import T2V
from evs_batch.models.sfi import Injection, choose_layers
from evs_batch.spec.errors import RecipeError
from evs_batch.spec.recipe import load_recipe, parse_recipe
from evs_batch.spec.segments import Segments
from evs_batch.spec.work import Clip, model_stages
from evs_batch.stages.inline import enhance, load_enhancer
from evs_batch.stages.item import Item
from evs_batch.stages.plan import plan
from tests.models.windows import windows_of

SOURCE = zoo.t2v_source("tiny")
CPU = Hardware(torch.device("cpu"), torch.float32)
FRAMES, STEPS = 8, 20
WINDOWS = [windows_of(FRAMES, width=8, overlap=4)]
TEXT = torch.randn(1, 24, 64, generator=torch.Generator().manual_seed(1))
X0 = torch.randn(FRAMES, 4, 16, 16, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def unet() -> Any:
    return loading.load_motion_unet(SOURCE, loading.load_unet(SOURCE.base))


def inverted_and_denoised(unet: Any, *, available: int, executed: int, **sfi: Any) -> tuple[torch.Tensor, Injection]:
    """Clean latents up by inversion and down again by `executed` steps, with features injected on the way down."""
    injection = Injection(unet, sfi.get("layers", "all"), sfi.get("gamma", 1.0), sfi.get("convolution", False))
    t2v = T2V(unet, CPU, injection)
    model = t2v.prompted(TEXT, TEXT, sfi.get("guidance", 1.0), WINDOWS, [FRAMES])
    plain = t2v.prompted(TEXT, TEXT, 1.0, WINDOWS, [FRAMES])
    scheduler = zoo.scheduler(SOURCE, STEPS)
    block = evs.block_timesteps(scheduler, available, executed)
    with injection.record(block):
        eps = evs.invert(plain, scheduler, X0, evs.tail(scheduler, available))
    with injection.inject():
        assert injection.held_bytes > 0
        out = evs.stabilise(model, zoo.scheduler(SOURCE, STEPS), X0, eps, block)
    assert injection.held_bytes == 0, "nothing stays after a call"
    return out, injection


def error(made: torch.Tensor) -> float:
    return float((made - X0).square().mean().sqrt())


def test_more_injection_keeps_more_of_the_video():
    full, half, little = (
        error(
            inverted_and_denoised(
                loading.load_motion_unet(SOURCE, loading.load_unet(SOURCE.base)), available=6, executed=6, gamma=gamma
            )[0]
        )
        for gamma in (1.0, 0.5, 0.0)
    )
    assert full < half < little


def test_the_convolution_keeps_more_still():
    without, with_it = (
        error(
            inverted_and_denoised(
                loading.load_motion_unet(SOURCE, loading.load_unet(SOURCE.base)),
                available=6,
                executed=6,
                gamma=0.5,
                convolution=on,
            )[0]
        )
        for on in (False, True)
    )
    assert with_it < without


def test_full_injection_reconstructs_about_as_well_as_inversion_alone(unet: Any):
    injected, _ = inverted_and_denoised(unet, available=6, executed=6, gamma=1.0)
    model = T2V(loading.load_motion_unet(SOURCE, loading.load_unet(SOURCE.base)), CPU).prompted(
        TEXT, TEXT, 1.0, WINDOWS, [FRAMES]
    )
    scheduler = zoo.scheduler(SOURCE, STEPS)
    tail = evs.tail(scheduler, 6)
    alone = evs.stabilise(model, zoo.scheduler(SOURCE, STEPS), X0, evs.invert(model, scheduler, X0, tail), tail)
    assert error(injected) < 1.05 * error(alone)


def test_processors_that_neither_record_nor_inject_change_nothing(unet: Any):
    plain = T2V(loading.load_motion_unet(SOURCE, loading.load_unet(SOURCE.base)), CPU).prompted(
        TEXT, TEXT, 1.0, WINDOWS, [FRAMES]
    )
    watched = T2V(unet, CPU, Injection(unet, "all", 0.5)).prompted(TEXT, TEXT, 1.0, WINDOWS, [FRAMES])
    assert torch.allclose(plain(X0, torch.tensor(249)), watched(X0, torch.tensor(249)), atol=1e-5)


def test_only_spatial_self_attention_of_the_decoder_is_touched(unet: Any):
    before = dict(unet.attn_processors)
    Injection(unet, "all", 0.5)
    touched = {name for name, processor in unet.attn_processors.items() if processor is not before[name]}
    assert touched
    assert all(name.startswith("up_blocks.") and ".attn1." in name and "motion" not in name for name in touched)


def test_layers_are_chosen_by_depth_or_by_name(unet: Any):
    everything = choose_layers(unet, "all")
    deep, shallow = choose_layers(unet, "deep"), choose_layers(unet, "shallow")
    assert deep
    assert shallow
    assert max(deep) < min(shallow), "deep is nearer to the middle"
    assert {*deep, *shallow} <= set(everything)
    assert choose_layers(unet, [deep[0]]) == deep[:1]
    with pytest.raises(RecipeError, match=r"up_block\.9.*names no self-attention"):
        choose_layers(unet, ["up_block.9"])


def test_blending_inputs_equals_blending_queries_keys_and_values(unet: Any):
    """Eq. 11 as it is printed, with Q, K and V of both passes."""
    injection = Injection(unet, "deep", 0.3)
    name = choose_layers(unet, "deep")[0]
    layer: Any = unet.get_submodule(name)
    width = layer.to_q.in_features
    h, inverted = torch.randn(2, 9, width), torch.randn(2, 9, width)
    injection.at = 7.0, 0
    with injection.record(torch.tensor([7])):
        layer(inverted)
    with injection.inject():
        made = layer(h)

    def heads(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (layer.heads, -1)).transpose(1, 2)

    query = 0.3 * layer.to_q(inverted) + 0.7 * layer.to_q(h)
    key, value = layer.to_k(inverted), layer.to_v(inverted)
    seen = nnf.scaled_dot_product_attention(heads(query), heads(key), heads(value))
    assert torch.allclose(made, layer.to_out[0](seen.transpose(1, 2).flatten(-2)), atol=1e-5)


@pytest.mark.parametrize("layers", ["deep", "shallow", "all"])
@pytest.mark.parametrize("convolution", [False, True])
def test_the_memory_that_is_budgeted_is_the_memory_that_is_held(unet: Any, layers: str, convolution: bool):
    injection = Injection(unet, layers, 0.5, convolution)
    model = T2V(unet, CPU, injection).prompted(TEXT, TEXT, 1.0, [windows_of(24)], [24])
    x0 = torch.randn(24, 4, 8, 16)
    with injection.record(torch.tensor([49, 99])):
        evs.invert(model, zoo.scheduler(SOURCE, STEPS), x0, evs.tail(zoo.scheduler(SOURCE, STEPS), 3))
        windows = len(windows_of(24)(0.0))
        assert injection.held_bytes == 2 * windows * injection.window_bytes(16, 8, 16) > 0


def test_the_memory_of_the_papers_job_at_full_size():
    """16 frames of 640x1024 in bf16: 551 MB a step for all decoder layers of Stable Diffusion 1.5."""
    with init_empty_weights():
        spatial = UNet2DConditionModel(cross_attention_dim=768)
        full: Any = UNetMotionModel.from_unet2d(spatial, MotionAdapter(), load_weights=False).to(torch.bfloat16)
    assert Injection(full, "all", 0.8).window_bytes(16, 80, 128) == pytest.approx(551e6, rel=0.01)


def test_clips_whose_features_do_not_fit_together_go_one_after_the_other():
    import numpy as np

    short = ["t2v.window=8", "t2v.overlap=4", "t2v.switch_at=[3]", "composition='T2V'"]
    recipe = load_recipe("demo", ["t2v.entry='ddim'", "sfi.enabled=true", *short])
    videos = [np.random.default_rng(n).integers(0, 255, (5, 64, 64, 3), np.uint8) for n in range(3)]
    clips = [Clip(id=str(n), uri="", prompt="a red star", seed=n) for n in range(3)]
    together = load_enhancer(recipe)
    runner: Any = together.runners["t2v"]
    stage = next(stage for stage in model_stages(recipe) if stage.role == "t2v")
    item, visit = Item(clip=clips[0], facts=None, output="", segments=Segments(5)), runner._visit(stage)
    windows = plan(recipe, stage, item, np.zeros(5, bool), visit.inverted, visit.timesteps)
    one = runner._feature_bytes(windows, (5, 4, 16, 16)) / 1e9
    tight = load_enhancer(parse_recipe({**recipe.model_dump(), "sfi": {"enabled": True, "memory_gb": 1.5 * one}}))
    for a, b in zip(together(videos, clips), tight(videos, clips), strict=True):
        assert np.array_equal(a, b)
    none = load_enhancer(parse_recipe({**recipe.model_dump(), "sfi": {"enabled": True, "memory_gb": 0.5 * one}}))
    with pytest.raises(RecipeError, match=r"SFI on 5 frames of clip 0: keeps .* GB of features.*raise sfi\.memory_gb"):
        none(videos, clips)


def test_guidance_injects_into_both_of_its_halves(unet: Any):
    guided, _ = inverted_and_denoised(unet, available=4, executed=2, guidance=3.0)
    assert torch.isfinite(guided).all()


def test_the_recipe_turns_it_on():
    import numpy as np

    frames = np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3), np.uint8)
    tree = load_recipe("demo", ["t2v.entry=ddim", "t2v.switch_at=[2]"]).model_dump()
    without, with_sfi = (
        enhance(frames, "a red star", parse_recipe({**tree, "sfi": {"enabled": on}})) for on in (False, True)
    )
    assert not np.array_equal(without, with_sfi)


def test_a_t2v_that_injects_is_not_compiled(monkeypatch: pytest.MonkeyPatch):
    """What is kept and given changes from call to call, which compiled code would not see."""
    compiled = list[object]()
    monkeypatch.setattr("evs_batch.models.hardware.compile_blocks", lambda model, **_: compiled.append(model))
    hardware = Hardware(CPU.device, CPU.dtype, compile="static")
    watched, plain = (loading.load_motion_unet(SOURCE, loading.load_unet(SOURCE.base)) for _ in range(2))
    T2V(watched, hardware, Injection(watched, "deep", 0.5))
    T2V(plain, hardware)
    assert compiled == [plain]
