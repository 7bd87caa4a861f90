"""Settings that are faster and not the same: what they do to the tiny family's quality; `bench device` times them."""

from collections.abc import Sequence

from evs_batch.models.fp8 import has_fp8
from evs_batch.models.hardware import device
from evs_batch.spec.recipe import Recipe
from evs_batch.store.recipes import load_recipe

_CACHE_2, _CACHE_3, _HALF = "t2i.cache_interval=2", "t2i.cache_interval=3", "t2i.guidance_stop=0.5"
_FEWER_KEYS, _FP8 = "t2i.token_downsampling=2", "t2i.fp8=true"


def levers(decoder: str) -> dict[str, Sequence[str]]:
    """Changes of a recipe by the name of the setting; `decoder` is a small one for the recipe's models.

    Without fp8 where this machine has none.
    """
    small = f"t2i.decoder={decoder}"
    known: dict[str, Sequence[str]] = {
        "cache 2": (_CACHE_2,),
        "cache 3": (_CACHE_3,),
        "guidance in half": (_HALF,),
        "small decoder": (small,),
        "a quarter of the keys": (_FEWER_KEYS,),
        "fp8": (_FP8,),
        "cache 3, guidance in half": (_CACHE_3, _HALF),
        "cache 3, guidance in half, small decoder": (_CACHE_3, _HALF, small),
        "cache 3, guidance in half, small decoder, fp8": (_CACHE_3, _HALF, small, _FP8),
        "cache 2, guidance in half, a quarter of the keys": (_CACHE_2, _HALF, _FEWER_KEYS),
    }
    able = has_fp8(device())
    return {name: changes for name, changes in known.items() if able or _FP8 not in changes}


def recipes(name: str, changes: Sequence[str], decoder: str) -> dict[str, Recipe]:
    """A recipe as it is, and with each lever."""
    return {"none": load_recipe(name, changes)} | {
        lever: load_recipe(name, [*changes, *more]) for lever, more in levers(decoder).items()
    }
