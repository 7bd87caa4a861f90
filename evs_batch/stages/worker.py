"""The roles that a worker process can have."""

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any

from evs_batch.models import zoo
from evs_batch.scheduling.admission import credit
from evs_batch.scheduling.events import Size
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.segments import cut
from evs_batch.spec.video import VideoFacts
from evs_batch.spec.work import Role, path
from evs_batch.stages.careful import Careful
from evs_batch.stages.item import StageRunner

ROLES: Mapping[Role, str] = {
    "media": "evs_batch.stages.media",
    "t2i": "evs_batch.stages.t2i",
    "t2v": "evs_batch.stages.t2v",
}

LATENT_CHANNELS = 4
SHORTEST_SEGMENT = 8  # frames
_COPIES_IN_FLIGHT = 3  # x0 before and after a stage, and the noise beside it


def load_runner(role: Role, recipe: Recipe, threads: int) -> StageRunner:
    """Load what a role needs."""
    return code(role).load(recipe, threads)


def load_careful(role: Role, recipe: Recipe, threads: int) -> StageRunner:
    """Load what a role needs; clips that come out with NaN or infinity are computed in fp32."""
    runner = load_runner(role, recipe, threads)
    if role == "media" or recipe.runtime.precision == "fp32":
        return runner
    exact = recipe.model_copy(update={"runtime": recipe.runtime.model_copy(update={"precision": "fp32"})})
    return Careful(runner, partial(load_runner, role, exact, threads))


def code(role: Role) -> Any:
    """The module that serves a role; a media worker never imports torch."""
    return import_module(ROLES[role])


def measure(recipe: Recipe, facts: VideoFacts, budget_bytes: int) -> list[Size]:
    """Ways to cut a clip, the longest segments first, and what one of them needs of the object store.

    Segments are shorter than the recipe's only where those would never be admitted, down to a few frames.
    """
    longest, sizes = recipe.runtime.segment_frames, list[Size]()
    while True:
        segments = cut(facts.frames, longest)
        frames = -(-segments.frames // segments.count)
        size = Size(
            segments=segments,
            pixel_bytes=frames * _pixel_bytes(recipe, facts),
            latent_bytes=frames * _latent_bytes(recipe, facts),
            shape=(facts.height, facts.width),
        )
        if longest <= SHORTEST_SEGMENT or credit(path(recipe), size).bytes <= budget_bytes:
            sizes.append(size)
        if longest <= SHORTEST_SEGMENT:
            return sizes
        longest = max(SHORTEST_SEGMENT, longest // 2)


def _pixel_bytes(recipe: Recipe, facts: VideoFacts) -> int:
    """What the pixels of one frame hold in the object store: the source's, or the result's, or both at once."""
    height, width = recipe.output_size(facts.height, facts.width)
    source, result = 3 * facts.height * facts.width, 3 * height * width
    at_once = any("frames" in stage.needs and "frames" in stage.gives for stage in path(recipe))
    return source + result if at_once else max(source, result)


def _latent_bytes(recipe: Recipe, facts: VideoFacts) -> int:
    """What one frame holds in the object store between the models."""
    height, width = recipe.output_size(facts.height, facts.width)
    factor_px = zoo.t2i_source(recipe.t2i.model).latent_factor_px
    cells = (height // factor_px + 1) * (width // factor_px + 1)
    return _COPIES_IN_FLIGHT * 4 * LATENT_CHANNELS * cells
