"""Settings that are faster and not the same: what they do to the tiny family's quality; `bench device` times them."""

from collections.abc import Mapping, Sequence

from evs_batch.spec.recipe import Recipe
from evs_batch.store.recipes import load_recipe

LEVERS: Mapping[str, Sequence[str]] = {
    "cache 2": ("t2i.cache_interval=2",),
    "cache 3": ("t2i.cache_interval=3",),
    "guidance in half": ("t2i.guidance_stop=0.5",),
    "a quarter of the keys": ("t2i.token_downsampling=2",),
    "cache 3, guidance in half": ("t2i.cache_interval=3", "t2i.guidance_stop=0.5"),
    "all three": ("t2i.cache_interval=2", "t2i.guidance_stop=0.5", "t2i.token_downsampling=2"),
}


def recipes(name: str, changes: Sequence[str]) -> dict[str, Recipe]:
    """A recipe as it is, and with each lever."""
    return {"none": load_recipe(name, changes)} | {
        lever: load_recipe(name, [*changes, *more]) for lever, more in LEVERS.items()
    }
