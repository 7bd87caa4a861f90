from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pytest

from evs_batch.bench.compositions import EVS, PAPER, compositions, verdicts
from evs_batch.bench.domain import sample
from evs_batch.bench.quality import CEILING, METRICS, SOURCE, Scores, evaluations, resample, run, table
from evs_batch.bench.sweep import varied
from evs_batch.evaluate import motion_error
from evs_batch.spec.errors import RecipeError
from evs_batch.spec.recipe import load_recipe, parse_recipe
from evs_batch.spec.work import Clip
from evs_batch.stages.inline import load_enhancer
from evs_batch.tiny.clips import VALIDATION_SEEDS

SMALL: dict[str, Any] = {
    "t2i": {"steps": 10, "strength": 0.4, "guidance": 1.0},
    "t2v": {"steps": 8, "strength": 0.5, "block_steps": 2, "switch_at": [2]},
}


def scores(**imaging_and_consistency: tuple[float, float]) -> dict[str, Scores]:
    """Made-up scores of 40 clips around these means, between a source of 0 and a ceiling of 1."""
    noise = np.random.default_rng(0).normal(0, 0.02, (40, 1))
    means = {SOURCE: (0.0, 0.0), CEILING: (1.0, 1.0), **imaging_and_consistency}
    return {
        name: Scores(np.repeat([[i, i, c, c]], 40, axis=0) + (0 if name in (SOURCE, CEILING) else noise), [1.0])
        for name, (i, c) in means.items()
    }


PATTERN = {"T2I": (0.9, 0.2), "T2V": (0.2, 0.9), "T2I+T2V": (0.3, 0.8), "T2V+T2I": (0.8, 0.4), EVS: (0.8, 0.7),
           "VAE": (0.1, 0.1)}  # fmt: skip


def judged(found: dict[str, Scores]) -> dict[str, bool]:
    recipes = compositions(parse_recipe(SMALL))
    resampled = resample(found)
    return verdicts(table("composition", recipes, found, resampled), resampled)


def test_the_papers_pattern_is_recognised_and_its_absence_too():
    holds = judged(scores(**PATTERN))
    assert [statement for statement, yes in holds.items() if not yes] == [
        "EVS needs less time than one model after the other"
    ], "all took one second"
    swapped = judged(scores(**{**PATTERN, "T2I": PATTERN["T2V"], "T2V": PATTERN["T2I"]}))
    assert not swapped["T2I beats T2V in imaging, intervals apart"]
    assert not swapped["T2I+T2V is nearer to T2V than to T2I"]
    assert not judged(scores(**{**PATTERN, EVS: (0.4, 0.5)}))["EVS is first in overall"]
    assert not judged(scores(**{**PATTERN, "VAE": (0.9, 0.1)}))["EVS beats 'VAE only' in imaging"]


def test_summaries_are_means_between_source_and_ceiling_with_intervals_around_them():
    row = next(
        row
        for row in table("composition", {}, scores(**PATTERN), resample(scores(**PATTERN)))
        if row["composition"] == "T2I"
    )
    assert row["imaging"] == pytest.approx(0.9, abs=0.02)
    assert row["overall"] == pytest.approx((row["imaging"] + row["consistency"]) / 2, abs=1e-3)
    low, high = row["overall_interval"]
    assert low < row["overall"] < high < low + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"reentry": "ddim"}, {"entry": "ddim", "guidance": 2.0}], ids=str)
def test_evaluations_are_those_that_the_networks_count(change: dict):
    tree = {**SMALL, "t2i": {**SMALL["t2i"], **change}, "t2v": {**SMALL["t2v"], "entry": change.get("entry", "random")}}
    video = np.zeros((16, 32, 32, 3), np.uint8)
    for name, recipe in compositions(parse_recipe(tree)).items():
        counts, enhancer = Counter(), load_enhancer(recipe)
        for role, runner in enhancer.runners.items():
            getattr(runner, role)._unet.register_forward_hook(partial(count, counts, role))
        enhancer([video], [Clip(id="x", uri="", prompt="a star", seed=1)])
        assert (counts["t2i"], counts["t2v"]) == evaluations(recipe), name


def count(counts: Counter, role: str, _module: Any, _inputs: Any, output: Any) -> None:
    """One evaluation a forward pass, two where guidance doubles its batch."""
    counts[role] += len(output.sample) // {"t2i": 16, "t2v": 1}[role]


@pytest.mark.slow
def test_a_run_measures_every_recipe_and_both_ends_of_the_scale():
    tree = {**SMALL, "composition": "T2I", "t2i": {**SMALL["t2i"], "strength": 0.2}}
    found = run({"T2I": parse_recipe(tree)}, VALIDATION_SEEDS[:1])
    assert {name: s.metrics_NM.shape for name, s in found.items()} == dict.fromkeys(
        (SOURCE, CEILING, "T2I"), (1, len(METRICS))
    )
    assert np.all(found[CEILING].metrics_NM > found[SOURCE].metrics_NM), "the scale has the right direction"
    assert len(found["T2I"].seconds) == 1


def test_compositions_are_those_of_the_paper():
    assert set(PAPER) < set(compositions(load_recipe("demo")))


def test_a_sweep_is_one_recipe_for_each_value():
    recipes = varied("demo", ["seed=3"], "t2v.strength=[0.2, 0.3]")
    assert {name: (r.seed, r.t2v.strength) for name, r in recipes.items()} == {
        "t2v.strength=0.2": (3, 0.2),
        "t2v.strength=0.3": (3, 0.3),
    }
    for wrong in ("t2v.strength", "t2v.strength=0.2", "t2v.strength=[]", "t2v.strength=[a]"):
        with pytest.raises(RecipeError, match="--vary"):
            varied("demo", [], wrong)


@pytest.mark.parametrize("scale", [1, 2])
def test_the_known_motion_is_that_of_the_clean_clip(scale: int):
    s = sample(VALIDATION_SEEDS[2], frames=4, scale=scale)
    assert s.source.shape == s.clean.shape == (4, 128 * scale, 128 * scale, 3)
    assert s.degraded.shape == (4, 128, 128, 3)
    assert motion_error(s.clean, *s.motion) < 0.01 < motion_error(s.source, *s.motion)


def test_a_measurement_has_one_upscale():
    one, two = (load_recipe("demo", [f"t2i.upscale={rate}"]) for rate in (1.0, 2.0))
    with pytest.raises(RecipeError, match="one whole number"):
        run({"one": one, "two": two}, VALIDATION_SEEDS[:1])
    with pytest.raises(RecipeError, match="one whole number"):
        run({"odd": load_recipe("demo", ["t2i.upscale=1.5"])}, VALIDATION_SEEDS[:1])
