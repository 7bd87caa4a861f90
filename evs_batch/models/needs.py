"""The models that a recipe needs."""

from functools import lru_cache

from evs_batch.models import zoo
from evs_batch.models.places import size_bytes
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import path


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


@lru_cache
def weights_bytes(recipe: Recipe) -> float:
    """Of all their files; infinity where one is not on this machine. They are looked at once."""
    return sum(map(size_bytes, {place for model in needed(recipe) for place in zoo.places(model)}))
