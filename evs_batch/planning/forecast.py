"""How long a run takes: the scheduler itself, with the costs of a frame instead of work."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evs_batch.driver.job import policy
from evs_batch.planning.costs import Costs, computed, forward
from evs_batch.runtime.cluster import Placement
from evs_batch.scheduling import events as ev
from evs_batch.scheduling.simulate import Durations, Outcome, simulate
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.video import VideoFacts
from evs_batch.spec.work import Role, Stage
from evs_batch.stages.worker import measure

CLIPS_PER_WORKER = 40  # as many are simulated; of more clips the rest goes on at the same rate
FEWEST_CLIPS = 400


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """`seconds` of the run; `stage_s` of all calls of a stage, on one worker; `pool_s` of each pool if it never waited.

    `in_flight_bytes` is the most that pixels and latents take of the object stores; `workers` are those of each pool
    that are started: of media workers as many as the models need.
    """

    seconds: float
    stage_s: Mapping[str, float]
    pool_s: Mapping[str, float]
    in_flight_bytes: int
    workers: Mapping[str, int]

    @property
    def bottleneck(self) -> str:
        return max(self.pool_s, key=lambda name: self.pool_s[name])


def sizes(recipe: Recipe, facts: Sequence[VideoFacts], budget_bytes: int) -> list[ev.Size]:
    """How the scheduler will see these videos."""
    return [measure(recipe, video, budget_bytes)[0] for video in facts]


def forecast(recipe: Recipe, placement: Placement, costs: Costs, sizes: Sequence[ev.Size], clips: int) -> Forecast:
    """Foretell a run of so many clips, of which `sizes` are a fair sample."""
    told = policy(recipe, placement)

    def relative(stage: Stage, size: ev.Size) -> float:
        pixels = math.prod(recipe.output_size(*size.shape))
        return costs.relative(stage.role, pixels) * computed(recipe, stage.role, size.segments.frames)

    durations = Durations(
        frame_s=costs.frame_s, relative=relative, forward=forward(recipe), media_s=costs.clip_s,
        start_s=costs.start_s, load_s=costs.load_s,
    )  # fmt: skip

    def played(count: int) -> Outcome:
        return simulate(told, durations, {str(at): sizes[at % len(sizes)] for at in range(count)})

    most = max(FEWEST_CLIPS, CLIPS_PER_WORKER * sum(pool.size for pool in told.models.values()))
    outcome = played(min(clips, most))
    seconds = outcome.seconds
    if clips > most:
        seconds += (clips - most) * (outcome.seconds - played(most // 2).seconds) / (most - most // 2)
    stage_s = {
        stage.name: clips * sum(_stage_s(stage, size, costs, relative(stage, size)) for size in sizes) / len(sizes)
        for stage in told.path
    }
    role_s = defaultdict[Role, float](float)
    for stage in told.path:
        role_s[stage.role] += stage_s[stage.name]
    pool_s = {name: sum(role_s[role] for role in pool.roles) / pool.size for name, pool in told.pools.items()}
    return Forecast(
        seconds=seconds + costs.around_s, stage_s=stage_s, pool_s=pool_s, in_flight_bytes=outcome.most_bytes,
        workers=dict(outcome.started),
    )  # fmt: skip


def _stage_s(stage: Stage, size: ev.Size, costs: Costs, relative: float) -> float:
    if stage.name == "join" and size.segments.count == 1:
        return 0.0
    return costs.clip_s.get(stage.name, 0.0) + costs.frame_s.get(stage.name, 0.0) * relative * size.segments.frames
