"""What workers of evs-batch do in the comparison; it imports nothing that only a driver needs."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from evs_batch.bench.peers import work as bench
from evs_batch.runtime import actors
from evs_batch.spec.recipe import parse_recipe
from evs_batch.spec.video import constant_rate
from evs_batch.spec.work import Role, Stage
from evs_batch.stages.item import Arrays, Item, Probed, Result, StageRunner
from evs_batch.stages.worker import measure

_NO_CUTS: Arrays = {"cuts": np.zeros(0, bool)}
RECIPE = parse_recipe({"t2i": {"reentry": "random"}})  # only clean latents travel, as with the others


def sleeping(work: bench.Work) -> type[actors.Worker]:
    """A worker whose stages sleep."""

    class Sleeping(actors.Worker):
        def prepare(self, role: Role) -> None:
            """There is nothing to import."""

        def load_runner(self, role: Role) -> StageRunner:
            if role != "media":
                bench.load(work)
            return Sleeper(work)

    return Sleeping


@dataclass(frozen=True)
class Sleeper:
    """The kernels of the bench as a stage runner."""

    work: bench.Work

    def run(self, stage: Stage, items: list[Item], inputs: list[Arrays]) -> list[Result]:
        if stage.name == "probe":
            return [self._probe(item) for item in items]
        arrays = [arrays[stage.needs[0]] if stage.needs else np.zeros(0) for arrays in inputs]
        clips = [bench.Clip(item.clip.id, len(item.own), array) for item, array in zip(items, arrays, strict=True)]
        made = bench.run_stage(self.work, stage.name, clips)
        if not stage.gives:
            return [Result(arrays={}, row={}) for _ in made]
        return [Result(arrays={**_NO_CUTS, stage.gives[0]: clip.latents_FChw}) for clip in made]

    def _probe(self, item: Item) -> Result:
        facts = constant_rate(int(item.clip.uri), 512, 512, Fraction(24))
        size = measure(RECIPE, facts, item.budget_bytes)[0]
        return Result(arrays={}, probed=Probed(facts=facts, size=size, parts=""))
