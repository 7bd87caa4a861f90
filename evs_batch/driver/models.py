"""Whether the models of a run are here, before anything is started."""

from evs_batch.models import zoo
from evs_batch.models.needs import needed, weights_bytes
from evs_batch.runtime import cluster
from evs_batch.spec.recipe import Recipe


def check_models(recipe: Recipe, address: str | None) -> None:
    """Wrong names, and missing files where the run is on this machine alone, are said at once; raises ModelError."""
    weights_bytes.cache_clear()  # of an earlier run
    models = needed(recipe)
    if not cluster.is_remote(address):
        for model in models:
            zoo.locate_all(model)
