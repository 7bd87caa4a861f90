"""The stages of one clip in this process: for notebooks, measurements and tests."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from evs_batch.media.colours import colours
from evs_batch.media.cuts import find_cuts
from evs_batch.scheduling.artifacts import Artifacts
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.segments import Segments, cut
from evs_batch.spec.video import constant_rate
from evs_batch.spec.work import Clip, Role, Unit, model_stages, path
from evs_batch.stages.item import Item, StageRunner, assemble
from evs_batch.stages.media import coloured
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
        cuts = [find_cuts(video, [], self.recipe.t2v.scene_cut) for video in videos]
        return run_stages(self.recipe, self.runners, videos, cuts, clips)


def run_stages(
    recipe: Recipe,
    runners: Mapping[Role, StageRunner],
    videos: Sequence[np.ndarray],
    cuts: Sequence[np.ndarray],
    clips: Sequence[Clip],
) -> list[np.ndarray]:
    """All model stages one after the other, each with the segments of all clips in one call.

    `videos` are (F, H, W, 3), `cuts` (F,) bool: whether a shot begins with a frame.
    """
    stages = path(recipe)
    decoding, encoding = stages[1], stages[-2]
    artifacts, items = Artifacts(stages), dict[Unit, Item]()
    for number, (video, cuts_F, clip) in enumerate(zip(videos, cuts, clips, strict=True)):
        key, segments = str(number), cut(len(video), recipe.runtime.segment_frames)
        artifacts.begin(key, segments, segments.ends(stages, ()))
        for segment in range(segments.count):
            items[Unit(key, segment)] = item = _item(video, clip, segments, segment)
            own = slice(item.own.start, item.own.stop)
            given = {"frames": video[own], "cuts": cuts_F[own], "colours": colours(video[own])}
            artifacts.keep(decoding, Unit(key, segment), [given[name] for name in decoding.gives])
    for stage in model_stages(recipe):
        inputs = [assemble(stage, item, iter(artifacts.inputs(stage, [unit]))) for unit, item in items.items()]
        results = runners[stage.role].run(stage, [*items.values()], inputs)
        for unit, result in zip(items, results, strict=True):
            artifacts.keep(stage, unit, [result.arrays[name] for name in stage.gives])
    made = {
        unit: coloured(recipe, encoding, item, assemble(encoding, item, iter(artifacts.inputs(encoding, [unit]))))
        for unit, item in items.items()
    }
    return [np.concatenate([made[unit] for unit in items if unit.clip == str(n)]) for n in range(len(videos))]


def _item(video_FHW3: np.ndarray, clip: Clip, segments: Segments, number: int) -> Item:
    _, height, width, _ = video_FHW3.shape
    facts = constant_rate(len(segments.span(number)), height, width, Fraction(24))
    return Item(clip=clip, facts=facts, output="", segments=segments, number=number)


def load_enhancer(recipe: Recipe, threads: int = 0) -> Enhancer:
    """Load the models of a recipe into this process; on a CPU they take `threads` of its cores, 0: all."""
    roles: set[Role] = {stage.role for stage in model_stages(recipe)}
    threads = threads or os.cpu_count() or 1
    return Enhancer(recipe, {role: load_runner(role, recipe, threads) for role in roles})


_loaded = lru_cache(2)(load_enhancer)
