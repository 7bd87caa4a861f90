"""Recipes from any storage."""

from collections.abc import Sequence
from pathlib import Path

from evs_batch.spec import recipe
from evs_batch.spec.errors import RecipeError
from evs_batch.store import storage


def load_recipe(name: str | Path, overrides: Sequence[str] = ()) -> recipe.Recipe:
    """A ready recipe by name, or a TOML file or a JSON config of the EVS release by path or fsspec URI.

    `overrides` are `key.key=value` strings. Raises RecipeError for an unknown recipe, key or value.
    """
    return recipe.load_recipe(name, overrides, _read)


def _read(uri: str) -> bytes | None:
    try:
        return storage.read_bytes(uri)
    except Exception as error:  # each storage has errors of its own: no rights, no credentials, no such bucket
        raise RecipeError(
            f"recipe '{uri}'", f"cannot be read ({error})", "check the address and your rights"
        ) from error
