"""Which models a run needs, before anything is started."""

from evs_batch.models import zoo
from evs_batch.runtime import cluster
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import path


def check_models(recipe: Recipe, address: str | None) -> None:
    """Wrong names, and missing files where the run is on this machine alone, are said at once; raises ModelError."""
    models = needed(recipe)
    if not cluster.is_remote(address):
        for model in models:
            zoo.locate_all(model)


def needed(recipe: Recipe) -> list[zoo.Entry]:
    """The models of a recipe, which must go together; raises ModelError and RecipeError."""
    roles = {stage.role for stage in path(recipe)}
    models: list[zoo.Entry] = []
    if "t2i" in roles:
        t2i = zoo.t2i_source(recipe.t2i.model)
        models += [t2i, *(zoo.lora_place(lora.path) for lora in recipe.t2i.loras)]
        models += [zoo.decoder_source(recipe.t2i.decoder, t2i)] if recipe.t2i.decoder else []
    if "t2v" in roles:
        t2v = zoo.t2v_source(recipe.t2v.model, recipe.t2v.base)
        zoo.check_pair(zoo.t2i_source(recipe.t2i.model), t2v, recipe.t2v.bridge)
        models.append(t2v)
    return models
