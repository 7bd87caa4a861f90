"""The stages that workers run, one after the other, are Algorithm 1: equal to `evs.evs` for every path."""

from typing import Any

import numpy as np
import pytest
import torch

from evs_batch.algo import evs
from evs_batch.algo.noise import frame_noise
from evs_batch.algo.windows import Grid, Window, plan_windows, windowed
from evs_batch.models import zoo
from evs_batch.models.parts import Scale
from evs_batch.spec.recipe import Recipe, parse_recipe
from evs_batch.spec.work import Clip
from evs_batch.stages.inline import enhance, run_stages
from evs_batch.stages.t2i import T2IRunner
from evs_batch.stages.t2v import T2VRunner

LENGTHS = {"a": 20, "b": 5}
T2I_SOURCE, T2V_SOURCE = zoo.t2i_source("tiny"), zoo.t2v_source("tiny")


class FakeVae:
    """Latents that are pictures divided by 255; decoding keeps floats so that nothing is rounded away."""

    factor_px = 1

    def __init__(self, device: torch.device = torch.device("cpu")) -> None:
        self._device = device

    def encode(self, frames_FHW3: torch.Tensor) -> torch.Tensor:
        return frames_FHW3.to(self._device).permute(0, 3, 1, 2).float() / 255

    def decode(self, z_FChw: torch.Tensor) -> torch.Tensor:
        return z_FChw.permute(0, 2, 3, 1).cpu()


class FakeT2I:
    multiple, forward_frames = 1, 16

    def prompted(self, prompt: torch.Tensor, negative: torch.Tensor, guidance: Scale, lengths: list[int]) -> evs.Model:
        shift = prompt.repeat_interleave(torch.tensor(lengths))[:, None, None, None]
        return lambda z, t: torch.tanh(z) * 0.5 + shift.to(z.device) * float(t) / 500


class FakeT2V:
    injection = None

    def prompted(self, prompt, negative, guidance, plans, lengths) -> evs.Model:
        def window(z_WKChw: torch.Tensor, t: torch.Tensor, place_W2: torch.Tensor) -> torch.Tensor:
            shift = prompt[place_W2[:, 0]][:, None, None, None, None]
            return 0.5 * (z_WKChw + z_WKChw.mean(1, keepdim=True)) + shift.to(z_WKChw.device) * float(t) / 900

        return windowed(window, plans, lengths)


def fake_text(prompts: list[str]) -> torch.Tensor:
    return torch.tensor([float(len(prompt)) / 10 for prompt in prompts])


def fake_runners(recipe: Recipe, device: str = "cpu") -> dict[str, Any]:
    where = torch.device(device)
    return {
        "t2i": T2IRunner(recipe, T2I_SOURCE, vae := FakeVae(where), fake_text, FakeT2I(), vae, where),
        "t2v": T2VRunner(recipe, T2V_SOURCE, fake_text, FakeT2V(), where),
    }


def chain(
    recipe: Recipe, videos: dict[str, np.ndarray], device: str = "cpu", strengths: dict[str, float] | None = None
) -> list[Any]:
    """All model stages by the runners."""
    clips = [
        Clip(id=name, uri="", prompt="p" * len(video), seed=recipe.seed, strength=(strengths or {}).get(name))
        for name, video in videos.items()
    ]
    cuts = [np.zeros(len(video), bool) for video in videos.values()]
    return run_stages(recipe, fake_runners(recipe, device), [*videos.values()], cuts, clips)


def whole(recipe: Recipe, name: str, video: np.ndarray, cuts: list[int] | None = None) -> np.ndarray:
    """One clip by the algorithm in one place."""
    t2i, t2v = recipe.t2i, recipe.t2v
    prompt, grid = fake_text(["p" * len(video)]), Grid(width=t2v.window, overlap=t2v.overlap)
    everything, shift = range(len(video)), dict[float, int]()

    def windows(t: float) -> list[Window]:
        return plan_windows(grid, everything, everything, cuts or [], len(video), [shift[t]])[0]

    models = {
        "t2i": FakeT2I().prompted(prompt, prompt, lambda _: 1.0, [len(video)]),
        "t2v": FakeT2V().prompted(prompt, prompt, 1.0, [windows], [len(video)]),
    }

    def scheduler(which: str) -> evs.Scheduler:
        return {"t2i": zoo.scheduler(T2I_SOURCE, t2i.steps), "t2v": zoo.scheduler(T2V_SOURCE, t2v.steps)}[which]

    def start(purpose: str, x0: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        which, visit = purpose.split("/")
        first = visit == "0" or recipe.composition == "T2V+T2I"
        if which == "t2v":
            before = int(visit) * recipe.t2v_steps
            shift.update({float(t): grid.shift(before + at) for at, t in enumerate(timesteps)})
        mode = {"t2i": t2i.entry if first else t2i.reentry, "t2v": t2v.entry}[which]
        if mode == "mixed":
            of_t2i = evs.invert(models["t2i"], scheduler("t2i"), x0, evs.tail(scheduler("t2i"), recipe.t2i_steps))
            return t2v.mix * of_t2i + (1 - t2v.mix) * evs.invert(models["t2v"], scheduler("t2v"), x0, timesteps)
        if mode == "ddim":
            return evs.invert(models[which], scheduler(which), x0, timesteps)
        return frame_noise(recipe.seed, name, purpose, range(len(video)), (3, 6, 4))

    available = [
        evs.coupled_steps(scheduler("t2i"), remaining, scheduler("t2v")) if t2v.coupled else t2v.available_steps
        for remaining in recipe.switches
    ]
    out = evs.evs(
        models["t2i"], models["t2v"], scheduler, start, FakeVae().encode(torch.tensor(video)),
        executed_steps=recipe.t2i_steps, switches=recipe.switches, t2v_steps=available,
        block_steps=recipe.t2v_steps, carry=t2i.reentry == "ddim_step",
    )  # fmt: skip
    return FakeVae().decode(out).numpy()


@pytest.fixture
def videos() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.integers(0, 255, (frames, 6, 4, 3), np.uint8) for name, frames in LENGTHS.items()}


SMALL = {"t2i": {"strength": 0.2}, "t2v": {"steps": 20, "strength": 0.25}}
PATHS = [
    *[{"composition": name, **SMALL} for name in ("T2I", "T2V", "T2I+T2V", "T2V+T2I")],
    *[
        {
            "composition": name,
            "t2i": {"entry": "ddim", "reentry": reentry, "strength": 0.2},
            "t2v": {"entry": "ddim", "steps": 20, "strength": 0.25, "switch_at": [6, 3]},
        }
        for name in ("T2I+[T2V]+T2I", "T2V+T2I", "T2I+T2V")
        for reentry in ("ddim", "ddim_step")
    ],
    *[
        {"t2i": {"reentry": reentry, "strength": 0.2}, "t2v": {"steps": 20, "strength": 0.25, "switch_at": switches}}
        for reentry in ("random", "ddim", "ddim_step")
        for switches in ([3], [0], [9], [7, 2])
    ],
    {"composition": "T2I+T2V", "t2i": {"strength": 0.2}, "t2v": {"steps": 20, "strength": 0.25, "entry": "mixed"}},
    {"t2i": {"strength": 0.2}, "t2v": {"steps": 20, "switch_at": "every", "block_steps": 1}},
    {"t2i": {"strength": 0.2, "reentry": "ddim"},
     "t2v": {"steps": 20, "switch_at": "every", "coupled": True, "block_steps": 2}},
    {"t2i": {"strength": 0.2}, "t2v": {"steps": 20, "switch_at": [10, 1], "switch_counts": "current"}},
]  # fmt: skip


@pytest.mark.parametrize("tree", PATHS, ids=str)
def test_the_chain_of_stages_is_the_algorithm(tree: dict, videos: dict[str, np.ndarray]):
    recipe = parse_recipe(tree)
    for (name, video), made in zip(videos.items(), chain(recipe, videos), strict=True):
        assert np.allclose(made, whole(recipe, name, video), atol=1e-6)


def in_segments(recipe: Recipe, name: str, video: np.ndarray, longest: int, cuts: list[int]) -> np.ndarray:
    """One clip by the runners, segment by segment."""
    recipe = parse_recipe({**recipe.model_dump(), "runtime": {"segment_frames": longest}})
    clip = Clip(id=name, uri="", prompt="p" * len(video), seed=recipe.seed)
    begins = np.isin(np.arange(len(video)), cuts)
    return run_stages(recipe, fake_runners(recipe), [video], [begins], [clip])[0]


@pytest.mark.parametrize("tree", PATHS, ids=str)
@pytest.mark.parametrize(("longest", "cuts"), [(20, []), (16, [33, 37]), (7, [50]), (1, [])])
def test_a_long_clip_in_segments_is_the_algorithm(tree: dict, longest: int, cuts: list[int]):
    """Windows have as much context as they need, so that no segment shows where it begins."""
    video = np.random.default_rng(1).integers(0, 255, (67, 6, 4, 3), np.uint8)
    recipe = parse_recipe({**tree, "t2v": {**tree["t2v"], "context": 1000}})
    assert np.allclose(in_segments(recipe, "a", video, longest, cuts), whole(recipe, "a", video, cuts), atol=1e-6)


def test_a_shot_that_begins_just_beyond_the_context_counts():
    """It ends the windows before it, of which the last one touches the segment's last frame."""
    video = np.random.default_rng(1).integers(0, 255, (160, 6, 4, 3), np.uint8)
    t2v = {"steps": 20, "strength": 0.05, "overlap": 4, "context": 1000}
    recipe = parse_recipe({"composition": "T2V", "t2v": t2v})
    assert recipe.t2v_evaluations == 1
    for cut_at in range(90, 100):
        assert np.allclose(
            in_segments(recipe, "a", video, 80, [cut_at]), whole(recipe, "a", video, [cut_at]), atol=1e-6
        )


def test_with_too_little_context_segments_differ_near_their_ends_only():
    video = np.random.default_rng(1).integers(0, 255, (96, 6, 4, 3), np.uint8)
    recipe = parse_recipe({"composition": "T2V", "t2v": {"steps": 20, "strength": 0.1, "context": 8}})
    difference = np.abs(in_segments(recipe, "a", video, 48, []) - whole(recipe, "a", video)).max((1, 2, 3))
    assert difference[:24].max() < 1e-6
    assert difference[40:56].max() > 1e-3


def test_clips_of_one_call_may_have_their_own_strengths(videos: dict[str, np.ndarray]):
    recipe = parse_recipe({**SMALL, "t2v": {"steps": 20, "strength": 0.25, "switch_at": [3]}})
    made = chain(recipe, {**videos, "c": videos["b"]}, strengths={"b": 0.4, "c": 0.1})
    for result, (name, video), strength in zip(
        made, [*videos.items(), ("c", videos["b"])], [None, 0.4, 0.1], strict=True
    ):
        assert np.allclose(result, whole(recipe.at(strength), name, video), atol=1e-6)


def test_the_vae_alone_changes_nothing_else(videos: dict[str, np.ndarray]):
    made = chain(parse_recipe({"composition": "VAE"}), videos)
    assert all(np.allclose(m * 255, video, atol=1e-3) for m, video in zip(made, videos.values(), strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_chain_runs_on_a_gpu(videos: dict[str, np.ndarray]):
    recipe = parse_recipe(PATHS[1])
    for made, on_cpu in zip(chain(recipe, videos, "cuda"), chain(recipe, videos), strict=True):
        assert np.allclose(made, on_cpu, atol=1e-3)


@pytest.mark.parametrize(
    "frames",
    [np.zeros((2, 8, 8, 3), np.float32), np.zeros((2, 8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.uint8), [1],
     np.zeros((0, 8, 8, 3), np.uint8)],
)  # fmt: skip
def test_frames_of_another_kind_are_refused_by_name(frames: Any):
    with pytest.raises(ValueError, match="frames"):
        enhance(frames, "a cat", "identity")


def test_identity_gives_frames_back_even_from_a_view():
    frames = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)[:, ::-1]
    assert np.array_equal(enhance(frames, "a cat", "identity"), frames)
