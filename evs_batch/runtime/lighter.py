"""What a worker gives up when a single clip does not fit its device: what changes pixels least goes first."""

from collections.abc import Mapping
from typing import Any

from evs_batch.spec.recipe import Recipe
from evs_batch.spec.tables import Runtime
from evs_batch.spec.work import Role

OFFLOAD: Mapping[str, str | None] = {"none": "models", "models": "layers", "layers": None}


def lighter(recipe: Recipe, role: Role) -> Recipe | None:
    """The recipe of a worker that needs less memory for one clip of a role; None if it has given up everything.

    Weights in the CPU's memory (no pixel differs), and at last an autoencoder that works tile by tile (borders of tiles
    are blended). Fewer frames in a forward pass come before: T2I finds by itself how many fit.
    """
    runtime = recipe.runtime
    if role == "media":
        return None
    if offload := OFFLOAD[runtime.offload]:
        return _with_runtime(recipe, offload=offload)
    return None if runtime.vae_tiles else _with_runtime(recipe, vae_tiles=True)


def _with_runtime(recipe: Recipe, **changes: Any) -> Recipe:
    """The recipe with other settings of `runtime`."""
    return recipe.model_copy(update={"runtime": recipe.runtime.model_copy(update=changes)})


def settings(runtime: Runtime, fitting: int | None = None) -> str:
    """How a worker holds and calls its models, and how many of T2I's frames are `fitting` where fewer do than asked."""
    tiles = ", vae_tiles = true" if runtime.vae_tiles else ""
    frames = runtime.frames_per_forward
    fewer = f" ({fitting} of its largest pictures)" if fitting and fitting < frames else ""
    return f"frames_per_forward = {frames}{fewer}, offload = '{runtime.offload}'{tiles}"
