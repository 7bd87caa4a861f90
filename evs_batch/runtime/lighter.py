"""What a worker gives up when a single clip does not fit its device: what changes pixels least goes first."""

from collections.abc import Mapping
from typing import Any

from evs_batch.spec.recipe import Recipe
from evs_batch.spec.tables import Runtime
from evs_batch.spec.work import Role

OFFLOAD: Mapping[str, str | None] = {"none": "models", "models": "layers", "layers": None}
_FEWER = 4  # as many frames in a forward pass, at each step


def lighter(recipe: Recipe, role: Role) -> Recipe | None:
    """The recipe of a worker that needs less memory for one clip of a role; None if it has given up everything.

    Fewer frames in a forward pass (pixels differ by rounding), weights in the CPU's memory (no pixel differs), and at
    last an autoencoder that works tile by tile (borders of tiles are blended).
    """
    runtime = recipe.runtime
    least = 2 if recipe.t2i.attention == "first_frame" else 1
    change: dict[str, Any] = {}
    if role == "media":
        return None
    if role == "t2i" and runtime.frames_per_forward > least:
        change["frames_per_forward"] = max(least, runtime.frames_per_forward // _FEWER)
    elif offload := OFFLOAD[runtime.offload]:
        change["offload"] = offload
    elif not runtime.vae_tiles:
        change["vae_tiles"] = True
    else:
        return None
    return recipe.model_copy(update={"runtime": runtime.model_copy(update=change)})


def settings(runtime: Runtime) -> str:
    """How a worker holds and calls its models."""
    tiles = ", vae_tiles = true" if runtime.vae_tiles else ""
    return f"frames_per_forward = {runtime.frames_per_forward}, offload = '{runtime.offload}'{tiles}"
