"""The stages of one clip in this process: for notebooks, measurements and tests."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from evs_batch.media.cuts import find_cuts
from evs_batch.media.encode import constant_rate
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.segments import Segments, cut
from evs_batch.spec.work import Artifact, Clip, Role, model_stages
from evs_batch.stages.item import Item, StageRunner, assemble
from evs_batch.stages.worker import load_runner
from evs_batch.store.recipes import load_recipe

RANK, RGB = 4, 3


def enhance(
    frames: np.ndarray,
    prompt: str,
    recipe: Recipe | str | Path = "demo",
    *,
    negative_prompt: str = "",
    seed: int | None = None,
    strength: float | None = None,
    clip_id: str = "clip",
) -> np.ndarray:
    """Enhance one clip in memory: (F, H, W, 3) uint8 in, (F, H', W', 3) uint8 out.

    `negative_prompt`, `seed` and T2I's `strength` are for this clip alone, as the columns of a manifest.
    `clip_id` belongs to the noise: equal ids, seeds, prompts, frames and recipes give what a job gives.
    Raises ValueError for frames of another kind.
    """
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != RANK or frames.shape[3] != RGB:
        kind = f"{frames.dtype} {frames.shape}" if isinstance(frames, np.ndarray) else type(frames).__name__
        raise ValueError(f"frames are {kind}: must be a uint8 array (F, H, W, 3); convert them")
    if 0 in frames.shape:
        raise ValueError(f"frames {frames.shape}: must not be empty")
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    seed = recipe.seed if seed is None else seed
    clip = Clip(id=clip_id, uri="", prompt=prompt, negative_prompt=negative_prompt, seed=seed, strength=strength)
    return _loaded(recipe)([np.ascontiguousarray(frames)], [clip])[0]


@dataclass(frozen=True)
class Enhancer:
    """A recipe and its loaded models."""

    recipe: Recipe
    runners: Mapping[Role, StageRunner]

    def __call__(self, videos: Sequence[np.ndarray], clips: Sequence[Clip]) -> list[np.ndarray]:
        """Enhance several clips of one picture size, (F, H, W, 3) uint8 each, in the same calls."""
        cut_up = [cut(len(video), self.recipe.runtime.segment_frames) for video in videos]
        units = [(clip, number) for clip, segments in enumerate(cut_up) for number in range(segments.count)]
        items = [_item(videos[clip], clips[clip], cut_up[clip], number) for clip, number in units]
        cuts = [find_cuts(video, [], self.recipe.t2v.scene_cut) for video in videos]
        held: dict[tuple[int, int], dict[Artifact, np.ndarray]] = {
            (clip, number): {"frames": videos[clip][_span(item)], "cuts": cuts[clip][_span(item)]}
            for (clip, number), item in zip(units, items, strict=True)
        }
        for stage in model_stages(self.recipe):
            inputs = []
            for (clip, _), item in zip(units, items, strict=True):
                seen = item.segments.seen(stage, item.number)
                parts = [held[clip, lender][name] for lender, _ in seen for name in stage.needs]
                inputs.append(assemble(stage, item, iter(parts)))
            results = self.runners[stage.role].run(stage, items, inputs)
            for unit, result in zip(units, results, strict=True):
                held[unit].update(result.arrays)
        return [
            np.concatenate([held[clip, number]["frames"] for number in range(segments.count)])
            for clip, segments in enumerate(cut_up)
        ]


def _item(video_FHW3: np.ndarray, clip: Clip, segments: Segments, number: int) -> Item:
    _, height, width, _ = video_FHW3.shape
    facts = constant_rate(len(segments.span(number)), height, width, Fraction(24))
    return Item(clip=clip, facts=facts, output="", segments=segments, number=number)


def _span(item: Item) -> slice:
    return slice(item.own.start, item.own.stop)


def load_enhancer(recipe: Recipe) -> Enhancer:
    """Load the models of a recipe into this process."""
    roles: set[Role] = {stage.role for stage in model_stages(recipe)}
    return Enhancer(recipe, {role: load_runner(role, recipe, threads=os.cpu_count() or 1) for role in roles})


_loaded = lru_cache(2)(load_enhancer)
