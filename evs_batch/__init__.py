"""evs-batch: enhance whole datasets of videos with EVS on any number of GPUs.

    evs_batch.run("videos.parquet", "demo", "out/")        a job
    evs_batch.enhance(frames, prompt, recipe="demo")       one clip in memory
    evs_batch.load_recipe("demo")                          a recipe

Importing this package imports nothing heavy: neither torch nor ray nor pydantic.
"""

from typing import TYPE_CHECKING, Any

from evs_batch.spec.errors import EvsError
from evs_batch.spec.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from evs_batch.driver import run
    from evs_batch.spec.recipe import Recipe
    from evs_batch.stages.inline import enhance
    from evs_batch.store.recipes import load_recipe

_LAZY = {
    "run": "evs_batch.driver.job",
    "enhance": "evs_batch.stages.inline",
    "load_recipe": "evs_batch.store.recipes",
    "Recipe": "evs_batch.spec.recipe",
}

__all__ = ["EvsError", "Recipe", "__version__", "enhance", "load_recipe", "run"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'evs_batch' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
