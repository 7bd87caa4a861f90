"""Clips that come out with NaN or infinity are computed again, in fp32."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from evs_batch.spec.errors import NotFiniteError
from evs_batch.spec.work import Stage
from evs_batch.stages.item import Arrays, Item, Result, StageRunner

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Careful:
    """A runner, and how to load one in fp32: for one clip at a time, and not kept."""

    runner: StageRunner
    load_exact: Callable[[], StageRunner]

    def run(self, stage: Stage, items: list[Item], inputs: list[Arrays]) -> list[Result]:
        """See `StageRunner`; innocent clips of a call keep what they would have had without the others."""
        try:
            return self.runner.run(stage, items, inputs)
        except NotFiniteError as error:
            if len(items) > 1:
                alone = zip(items, inputs, strict=True)
                return [result for item, arrays in alone for result in self.run(stage, [item], [arrays])]
            log.warning("%s of %s: %s; once more in fp32", stage.name, items[0].clip.id, error)
        return [
            replace(result, exact=True, forward_frames=None) for result in self.load_exact().run(stage, items, inputs)
        ]
