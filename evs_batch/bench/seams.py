"""Whether segments of long clips show where they begin, and what their context costs."""

# F frames, H/W pixels

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evs_batch.bench.domain import Sample, sample
from evs_batch.spec.recipe import Recipe, parse_recipe
from evs_batch.spec.segments import cut
from evs_batch.stages.inline import load_enhancer
from evs_batch.store.recipes import load_recipe

FRAMES, SEGMENT_FRAMES = 96, 16
CONTEXTS = (0, 8, 16, 32)
VARIANTS = {
    "as it is": [],
    "T2V alone": ['composition="T2V"'],
    "T2V alone, inverted first": ['composition="T2V"', 't2v.entry="ddim"'],
}


def measure(recipe: str, overrides: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Each variant of a recipe whole, and in segments with more and more context."""
    samples = [sample(seed, frames=FRAMES) for seed in seeds]
    rows = []
    for name, changes in VARIANTS.items():
        whole = load_recipe(recipe, [*overrides, *changes, f"runtime.segment_frames={FRAMES}"])
        reference, whole_s = _enhanced(whole, samples)
        rows.append({**_row(name, whole, reference, reference, samples), "seconds": 1.0})
        for context in CONTEXTS:
            tree = whole.model_dump()
            tree["runtime"]["segment_frames"], tree["t2v"]["context"] = SEGMENT_FRAMES, context
            segmented = parse_recipe(tree)
            made, seconds = _enhanced(segmented, samples)
            rows.append({**_row(name, segmented, made, reference, samples), "seconds": seconds / whole_s})
    return rows


def _enhanced(recipe: Recipe, samples: Sequence[Sample]) -> tuple[list[np.ndarray], float]:
    enhancer, began_s = load_enhancer(recipe), time.monotonic()
    made = [enhancer([s.degraded], [s.clip])[0] for s in samples]
    return made, time.monotonic() - began_s


def _row(
    name: str, recipe: Recipe, made: list[np.ndarray], whole: list[np.ndarray], samples: Sequence[Sample]
) -> Mapping[str, Any]:
    pairs = list(zip(made, whole, samples, strict=True))
    in_one = recipe.runtime.segment_frames == FRAMES
    return {
        "recipe": name,
        "evaluations": recipe.t2v_evaluations,
        "context": "whole clip" if in_one else recipe.t2v.context,
        "seam": float(np.mean([seam_ratio(video) for video, _, _ in pairs])),
        "seam_of_error": float(np.mean([seam_ratio(video.astype(float) - s.clean) for video, _, s in pairs])),
        "off_whole": float(np.mean([np.abs(video.astype(float) - other).mean() for video, other, _ in pairs])),
    }


def seam_ratio(video_FHW3: np.ndarray) -> float:
    """How much frames differ across the borders of segments, by how much they differ within: 1 where none is seen."""
    difference = np.abs(np.diff(video_FHW3.astype(float), axis=0)).mean((1, 2, 3))
    segments = cut(FRAMES, SEGMENT_FRAMES)
    across = np.isin(np.arange(1, FRAMES), [segments.span(number).start for number in range(1, segments.count)])
    return float(difference[across].mean() / difference[~across].mean())
