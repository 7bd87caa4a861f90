"""Which windows of frames T2V sees of a segment in one visit."""

# F frames that the segment looks at

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from evs_batch.algo.windows import Grid, Window, plan_windows
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Stage
from evs_batch.stages.item import Item

Windows = Mapping[float, list[Window]]  # by timestep


@dataclass(frozen=True)
class Plan:
    """The windows of the inversion, if there is one, and of the block."""

    inversion: Windows
    block: Windows


def plan(recipe: Recipe, stage: Stage, item: Item, cuts_F: np.ndarray, inverted: Tensor, timesteps: Tensor) -> Plan:
    """For an inversion over timesteps `inverted` (none, or from the noisiest on) and the block's `timesteps`.

    A timestep has its windows at the same places in both: SFI takes the features of one to the other.
    """
    rows, grid = item.rows(stage), Grid(width=recipe.t2v.window, overlap=recipe.t2v.overlap)
    first = stage.visit * recipe.t2v_steps
    shift = {t: grid.shift(first + at) for at, t in enumerate(inverted.tolist() or timesteps.tolist())}
    up, down = inverted.flip(0).tolist(), timesteps.tolist()
    planned = plan_windows(
        grid,
        own=item.own,
        seen=range(rows[0], rows[-1] + 1),
        cuts=[frame for frame, cut in zip(rows, cuts_F, strict=True) if cut],
        frames=item.segments.frames,
        shifts=[shift[t] for t in (*up, *down)],
    )
    by_row = [[window.moved(-rows[0]) for window in windows] for windows in planned]
    return Plan(dict(zip(up, by_row[: len(up)], strict=True)), dict(zip(down, by_row[len(up) :], strict=True)))
