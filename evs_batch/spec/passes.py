"""How often a recipe runs T2I's U-Net on a frame."""

from evs_batch.spec.recipe import Recipe


def t2i_passes(recipe: Recipe, visit: int) -> tuple[int, int]:
    """Passes of a frame in one visit: through the whole U-Net, and through its outermost layer alone.

    Guidance makes two of one. Kept features are of no use where guidance ends, nor in the next visit.
    """
    t2i, steps = recipe.t2i, recipe.t2i_steps
    left, passes = (steps, *recipe.switches, 0), [0, 0]
    age, before = t2i.cache_interval, 0
    for step in range(steps - left[visit], steps - left[visit + 1]):
        rows = 2 if step < t2i.guided_steps else 1
        kept = age < t2i.cache_interval and rows == before
        age, before = age + 1 if kept else 1, rows
        passes[kept] += rows
    return passes[0], passes[1]
