"""NaN and infinity at the bridges."""

from typing import Any

import numpy as np
import pytest
import torch

from evs_batch.runtime.account import Sums
from evs_batch.runtime.actors import CallMeta, Worker
from evs_batch.spec.errors import NotFiniteError
from evs_batch.spec.recipe import Recipe, load_recipe
from evs_batch.spec.segments import Segments
from evs_batch.spec.video import constant_rate
from evs_batch.spec.work import Clip, Role, Stage, model_stages
from evs_batch.stages.careful import Careful
from evs_batch.stages.item import Item, Result
from tests.conftest import stripes

FRAMES = 4
SHORT = ["t2v.switch_at=[2]", "runtime.frames_per_forward=4", "t2v.window=4", "t2v.overlap=2"]


class Overflowing(Worker):
    """Real models; whatever is computed in the recipe's precision for a clip of bright frames becomes infinite."""

    def load_runner(self, role: Role) -> Any:
        careful: Any = super().load_runner(role)
        part = getattr(careful.runner, role)
        call = part._call

        def forward(unet: Any, z: torch.Tensor, *rest: Any) -> torch.Tensor:
            made = call(unet, z, *rest)
            made[z.flatten(1).mean(1) > BRIGHT] = torch.inf
            return made

        part._call = forward
        return careful


BRIGHT = 0.4


def run(worker: Worker, stage: Stage, values: list[float]) -> tuple[CallMeta, list[np.ndarray]]:
    facts = constant_rate(FRAMES, 32, 32, 8)
    clips = [Clip(id=str(at), uri="", prompt="a red star", seed=0) for at in range(len(values))]
    items = [Item(clip=clip, facts=facts, output="", segments=Segments(FRAMES)) for clip in clips]
    inputs = {
        "frames": lambda _: stripes(FRAMES, 32, 32),
        "x0": lambda value: np.full((FRAMES, 4, 8, 8), value, np.float32),
        "cuts": lambda _: np.zeros(FRAMES, bool),
        "eps": lambda _: np.zeros((FRAMES, 4, 8, 8), np.float32),
    }
    meta, *made = worker._run(stage, items, [inputs[name](value) for value in values for name in stage.needs])
    return meta, made


def loaded(kind: type[Worker], recipe: Recipe, role: Role) -> Worker:
    worker = kind(recipe, threads=1)
    worker._runners = {role: worker.load_runner(role)}
    return worker


@pytest.fixture
def t2v() -> tuple[Recipe, Stage]:
    recipe = load_recipe("demo", SHORT)
    return recipe, next(stage for stage in model_stages(recipe) if stage.role == "t2v")


def test_a_clip_that_overflows_is_computed_in_fp32_and_counted(t2v: tuple[Recipe, Stage]):
    recipe, stage = t2v
    usual, wanted = run(loaded(Worker, recipe, "t2v"), stage, [0.0, 3.0])
    meta, made = run(loaded(Overflowing, recipe, "t2v"), stage, [0.0, 3.0])
    assert (usual.exact, meta.exact) == (0, 1)
    assert np.array_equal(made[0], wanted[0]), "its neighbour is as it would have been"
    assert np.isfinite(made[1]).all()
    assert np.allclose(made[1], wanted[1], atol=0.2), "and so is it, but for the precision"
    sums = Sums()
    sums.add(8, meta, 0.0)
    assert sums.exact == 1


@pytest.mark.parametrize("role", ["t2i", "t2v"])
def test_what_overflows_in_fp32_too_fails_with_a_way_out(role: Role):
    exact = load_recipe("demo", [*SHORT, "runtime.precision=fp32"])
    stage = next(stage for stage in model_stages(exact) if stage.role == role)
    worker = loaded(Worker, exact, role)
    runner: Any = worker._runners[role]
    getattr(runner, role)._call = lambda *arguments: arguments[1] * torch.nan
    with pytest.raises(NotFiniteError, match=f"latents of {role.upper()}: hold NaN or infinity"):
        run(worker, stage, [0.0])


def test_what_fits_in_fp32_is_not_said_of_the_worker():
    class Fails:
        def run(self, *_: Any) -> Any:
            raise NotFiniteError("latents", "hold NaN", "x")

    class Exact:
        def run(self, *_: Any) -> Any:
            return [Result(arrays={}, forward_frames=2)]

    stage = model_stages(load_recipe("demo"))[0]
    item = Item(clip=Clip(id="a", uri="", prompt="x", seed=0), facts=None, output="")
    (made,) = Careful(Fails(), Exact).run(stage, [item], [{}])
    assert (made.exact, made.forward_frames) == (True, None)
