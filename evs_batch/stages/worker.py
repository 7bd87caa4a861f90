"""The roles that a worker process can have."""

from collections.abc import Mapping
from importlib import import_module

from evs_batch.media.probe import VideoFacts
from evs_batch.models import zoo
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Role
from evs_batch.stages.item import StageRunner

ROLES: Mapping[Role, str] = {
    "media": "evs_batch.stages.media",
    "t2i": "evs_batch.stages.t2i",
    "t2v": "evs_batch.stages.t2v",
}

LATENT_CHANNELS = 4
_COPIES_IN_FLIGHT = 3  # x0 before and after a stage, and the noise beside it


def load_runner(role: Role, recipe: Recipe, threads: int) -> StageRunner:
    """Load what a role needs; a media worker never imports torch."""
    return import_module(ROLES[role]).load(recipe, threads)


def frame_bytes(recipe: Recipe, facts: VideoFacts) -> int:
    """What one frame holds in the object store at its worst moment: decoded pixels, latents and result."""
    height, width = recipe.output_size(facts.height, facts.width)
    factor_px = zoo.t2i_source(recipe.t2i.model).latent_factor_px
    cells = (height // factor_px + 1) * (width // factor_px + 1)
    latents = _COPIES_IN_FLIGHT * 4 * LATENT_CHANNELS * cells
    return 3 * facts.height * facts.width + 3 * height * width + latents
