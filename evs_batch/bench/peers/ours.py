"""evs-batch itself: its own loop, scheduler and actors; only the stage runners sleep."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import ray

from evs_batch.bench.peers import work as bench
from evs_batch.media.encode import constant_rate
from evs_batch.runtime import actors, cluster
from evs_batch.runtime.loop import Finished, Loop
from evs_batch.scheduling.policy import Policy
from evs_batch.spec.recipe import parse_recipe
from evs_batch.spec.work import Clip, Role, Stage, path
from evs_batch.stages.item import Arrays, Item, Probed, Result, StageRunner
from evs_batch.stages.worker import measure

BUDGET_BYTES = 10**10  # of frames as in a recipe for 512x512; here they are smaller
_NO_CUTS: Arrays = {"cuts": np.zeros(0, bool)}
RECIPE = parse_recipe({"t2i": {"reentry": "random"}})  # only clean latents travel, as with the others


def run(work: bench.Work) -> list[str]:
    """Names of the clips as they are committed."""
    delivered: list[str] = []
    placement = cluster.place(RECIPE, ray.cluster_resources(), None, None)

    def finished(end: Finished) -> None:
        if end.failure is None:
            delivered.append(end.clip.id)

    Loop(
        recipe=RECIPE,
        policy=Policy(
            path=path(RECIPE),
            pools=placement.pools,
            call_frames={"t2i": RECIPE.runtime.batch_frames, "t2v": RECIPE.runtime.batch_frames},
            budget_bytes=BUDGET_BYTES,
            lookahead_clips=4 * sum(pool.size for pool in placement.pools.values()),
        ),
        placement=placement,
        place=lambda: placement,
        output_uri=str,
        parts_uri=str,
        clips=(Clip(id=name, uri=str(frames), prompt="", seed=0) for name, frames in work.clips.items()),
        finished=finished,
        on_tick=lambda _: None,
        worker=sleeping(work),
    ).run()
    return delivered


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
