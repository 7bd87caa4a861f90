"""How good recipes are on clips of the tiny domain, whose clean originals and motion are known."""

# N clips, M metrics, R resamples of a bootstrap

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evs_batch.bench.domain import Sample, sample
from evs_batch.evaluate import acutance, flicker_error, motion_error, psnr
from evs_batch.spec.errors import RecipeError
from evs_batch.spec.passes import t2i_passes
from evs_batch.spec.recipe import Recipe, parse_recipe
from evs_batch.stages.inline import Enhancer, load_enhancer

SOURCE, CEILING = "source", "clean through VAE"
CLIPS_PER_CALL = 4
RESAMPLES = 2000
LEVEL = 0.95

# Of a video and its sample, so that more is better.
IMAGING = {
    "psnr_db": lambda video, s: psnr(video, s.clean),
    "log2_acutance": lambda video, s: -abs(float(np.log2(acutance(video, s.clean)))),
}
CONSISTENCY = {
    "flicker_error": lambda video, s: -flicker_error(video, s.clean),
    "motion_error": lambda video, s: -motion_error(video, *s.motion),
}
METRICS = {**IMAGING, **CONSISTENCY}


@dataclass(frozen=True)
class Scores:
    """What one recipe reached: metrics of every clip, and seconds per clip of every call."""

    metrics_NM: np.ndarray
    seconds: list[float]


def run(recipes: Mapping[str, Recipe], seeds: Sequence[int]) -> dict[str, Scores]:
    """All recipes on the clips of these seeds, and the two ends of the scale: the source and what the VAE can keep.

    Recipes take turns, so that a noisy machine is noisy for all. They share one upscale, a whole number: originals are
    drawn at the size of the results.
    """
    scale = _scale(recipes)
    enhancers = {name: load_enhancer(recipe) for name, recipe in recipes.items()}
    through_vae = load_enhancer(_vae_only(next(iter(recipes.values()))))
    metrics: dict[str, list] = {name: [] for name in (SOURCE, CEILING, *recipes)}
    seconds: dict[str, list[float]] = {name: [] for name in metrics}
    for enhancer in enhancers.values():  # nobody's time holds warming up
        _enhance([sample(seeds[0])], enhancer)
    for at in range(0, len(seeds), CLIPS_PER_CALL):
        samples = [sample(seed, scale=scale) for seed in seeds[at : at + CLIPS_PER_CALL]]
        clean = through_vae([s.clean for s in samples], [s.clip for s in samples])
        metrics[SOURCE] += [_measure(s.source, s) for s in samples]
        metrics[CEILING] += [_measure(video, s) for video, s in zip(clean, samples, strict=True)]
        for name, enhancer in enhancers.items():
            started_s = time.perf_counter()
            made = _enhance(samples, enhancer)
            seconds[name].append((time.perf_counter() - started_s) / len(samples))
            metrics[name] += [_measure(video, s) for video, s in zip(made, samples, strict=True)]
    return {name: Scores(np.array(found), seconds[name]) for name, found in metrics.items()}


def resample(scores: Mapping[str, Scores]) -> dict[str, dict[str, np.ndarray]]:
    """Imaging, consistency and overall of each: (1 + R,), the whole set first, then bootstrap resamples of the clips.

    A metric is the mean gain of clips over their own sources, in units of what the clean clip through the VAE gains on
    average, the best that any method on its latents can give: 0 is the degraded source. That unit is fixed for all
    resamples. Overall is the mean of all four metrics, as the paper's is of its four.
    """
    source_NM = scores[SOURCE].metrics_NM
    room_M = (scores[CEILING].metrics_NM - source_NM).mean(0)
    drawn = picks(len(source_NM))
    summaries = {}
    for name, found in scores.items():
        unit_RM = ((found.metrics_NM - source_NM) / room_M)[drawn].mean(1)
        summaries[name] = {
            "imaging": unit_RM[:, : len(IMAGING)].mean(1),
            "consistency": unit_RM[:, len(IMAGING) :].mean(1),
            "overall": unit_RM.mean(1),
        }
    return summaries


def picks(count: int) -> np.ndarray:
    """Which clips make the whole set and its bootstrap resamples: (1 + R, N)."""
    draws = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    return np.concatenate([np.arange(count)[None], draws])


def table(
    label: str, recipes: Mapping[str, Recipe], scores: Mapping[str, Scores], resampled: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One row for each recipe: summaries and intervals, metrics, evaluations of each network, seconds per clip."""
    rows = []
    for name, found in scores.items():
        summaries = resampled[name].items()
        t2i, t2v = evaluations(recipes[name]) if name in recipes else (0, 0)
        rows.append(
            {
                label: name,
                **{key: round(float(values[0]), 4) for key, values in summaries},
                **{f"{key}_interval": interval(values) for key, values in summaries},
                **dict(zip(METRICS, np.abs(found.metrics_NM).mean(0).round(4).tolist(), strict=True)),
                "t2i_evaluations": t2i,
                "t2v_evaluations": t2v,
                "evaluations": t2i + t2v,
                "seconds": round(float(np.median(found.seconds)), 3) if found.seconds else 0.0,
            }
        )
    return rows


def evaluations(recipe: Recipe) -> tuple[int, int]:
    """Forward passes of T2I for each frame and of T2V for each window; guidance makes two of one.

    Passes through the outermost layer alone (`t2i.cache_interval`) are not counted.
    """
    t2i, t2v, switches = recipe.t2i, recipe.t2v, recipe.switches
    refining = sum(t2i_passes(recipe, visit)[0] for visit in range(len(switches) + 1))
    blocks = len(switches) * recipe.t2v_steps
    up_t2i = sum(switches) if t2i.reentry == "ddim" and recipe.composition == "T2I+[T2V]+T2I" else 0
    up_t2i += recipe.t2i_steps * ((t2i.entry == "ddim") + (t2v.entry == "mixed"))
    up_t2v = len(switches) * t2v.available_steps if t2v.entry != "random" else 0
    return refining + up_t2i, blocks * (2 if t2v.guidance > 1 else 1) + up_t2v


def interval(values: np.ndarray) -> list[float]:
    """The bootstrap interval of a summary whose first value is that of the whole set."""
    tail = (1 - LEVEL) / 2
    return [round(float(edge), 4) for edge in np.quantile(values[1:], (tail, 1 - tail))]


def _scale(recipes: Mapping[str, Recipe]) -> int:
    """The upscale that recipes share."""
    rates = {recipe.t2i.upscale for recipe in recipes.values()}
    if len(rates) > 1 or not min(rates).is_integer():
        raise RecipeError(
            f"t2i.upscale={sorted(rates)}", "must be one whole number in a measurement", "set it to 1 or 2"
        )
    return int(min(rates))


def _vae_only(recipe: Recipe) -> Recipe:
    """Encode and decode with a recipe's models, at the size of what comes in."""
    tree = recipe.model_dump()
    return parse_recipe({**tree, "composition": "VAE", "t2i": {**tree["t2i"], "upscale": 1.0}})


def _enhance(samples: list[Sample], enhancer: Enhancer) -> list[np.ndarray]:
    return enhancer([s.degraded for s in samples], [s.clip for s in samples])


def _measure(video_FHW3: np.ndarray, s: Sample) -> list[float]:
    return [metric(video_FHW3, s) for metric in METRICS.values()]
