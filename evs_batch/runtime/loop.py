"""The event loop: Ray's news become scheduler events, and the scheduler's commands become Ray calls."""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import ray
from ray.exceptions import RayError

from evs_batch.runtime import actors, cluster
from evs_batch.runtime.cluster import Placement
from evs_batch.runtime.failures import classify
from evs_batch.runtime.lighter import settings
from evs_batch.runtime.metrics import Metrics
from evs_batch.runtime.placing import Placing
from evs_batch.runtime.timeline import Timeline
from evs_batch.scheduling import events as ev
from evs_batch.scheduling.artifacts import Artifacts
from evs_batch.scheduling.policy import Policy
from evs_batch.scheduling.state import State
from evs_batch.scheduling.step import step
from evs_batch.spec.errors import RunError
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Clip, Stage, Unit
from evs_batch.stages.item import Item, Probed

TICK_S = 0.1
LOOK_S = 2.0
log = logging.getLogger("evs_batch")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The end of one clip: its failure, or the columns that its last stage filled in."""

    clip: Clip
    failure: ev.Failure | None
    attempts: int
    begun_again: bool
    row: Mapping[str, Any]
    seconds: Mapping[str, float]
    segments: int


@dataclass(frozen=True)
class _Call:
    """A call in flight: what it gives, and when it was submitted, in Unix seconds."""

    submit: ev.Submit
    given: list[Any]
    at_s: float


@dataclass(kw_only=True)
class Loop:
    """One run. `clips` yields what is to be done, `finished` takes what is done, `on_tick` lets others watch."""

    recipe: Recipe
    policy: Policy
    placement: Placement
    place: Callable[[], Placement]
    output_uri: Callable[[str], str]
    parts_uri: Callable[[str], str]
    clips: Iterator[Clip]
    finished: Callable[[Finished], None]
    on_tick: Callable[["Loop"], None]
    stop_asked: Callable[[], bool] = lambda: False
    worker: type[actors.Worker] = actors.Worker
    timeline: Timeline = field(default_factory=lambda: Timeline(time.time()))

    def __post_init__(self) -> None:
        self.state = State(self.policy)
        self.worker_metas: dict[str, actors.WorkerMeta] = {}
        self._artifacts, self._metrics = Artifacts(self.policy.path), Metrics()
        self._clips: dict[str, Clip] = {}
        self._probed: dict[str, Probed] = {}
        self._facts: dict[str, Any] = {}
        self._rows: dict[str, Mapping[str, Any]] = {}
        self._actors: dict[str, actors.Handle] = {}
        self._loading: dict[Any, str] = {}
        self._placing = Placing()
        self._settings: dict[str, str] = {}
        self._looked_s = 0.0
        self._calls: dict[Any, _Call] = {}
        self._events: deque[ev.Event] = deque()
        self._end: ev.Finish | ev.Abort | None = None

    def run(self) -> None:
        """Work until every clip is finished or a stop has drained; raises RunError if the run cannot go on."""
        self._feed(ev.Tick())
        stop_said = False
        while self._end is None:
            if self.stop_asked() and not stop_said:
                stop_said = True
                self._feed(ev.StopRequested())
            for ref in self._news():
                self._take(ref)
            self._feed(ev.Tick())
            self._look_around()
            self._metrics.look(self.state)
            self.on_tick(self)
        for actor in self._actors.values():
            actor.kill()
        if isinstance(self._end, ev.Abort):
            why = "".join(f"; {said}" for said in self._placing.said.values())
            raise RunError(
                "the run", self._end.reason + why, "mend the cause and run the same command again: it resumes"
            )

    def _news(self) -> list[Any]:
        """References of small metas that have arrived; waits at most a tick."""
        waiting = [*self._loading, *self._calls]
        if not waiting:
            time.sleep(TICK_S)
            return []
        ready, _ = ray.wait(waiting, num_returns=1, timeout=TICK_S)
        more, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0) if ready else ([], [])
        return more or ready

    def _look_around(self) -> None:
        """Now and then, see what the cluster is and whether Ray has started all workers."""
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        placement = self.place()
        if placement != self.placement:
            sizes = ", ".join(f"{pool.size} {name}" for name, pool in placement.pools.items())
            log.info("the cluster has changed: %s", sizes)
            self.placement = placement
            self._feed(ev.PoolsChanged(placement.pools, placement.budget_bytes))
        leaving = cluster.drained()
        for worker in [name for name in self._actors if leaving and self._node(name) in leaving]:
            self._feed(ev.WorkerLeaves(worker))
        self._placing.look(self.placement.shares)

    def _take(self, ref: Any) -> None:
        if ref in self._loading:
            self._take_worker(self._loading.pop(ref), ref)
        elif ref in self._calls:  # a call of a worker that was lost a moment ago is no news
            self._take_call(self._calls.pop(ref), ref)

    def _take_worker(self, worker: str, ref: Any) -> None:
        try:
            meta: actors.WorkerMeta = ray.get(ref)
        except RayError as error:
            self._lose(worker, error)
        else:
            self.worker_metas[worker] = meta
            self.timeline.load(worker, meta)
            self._metrics.load(meta)
            self._feed(ev.WorkerUp(worker, meta.role, meta.held, meta.load_s))

    def _take_call(self, made: "_Call", ref: Any) -> None:
        call = made.submit
        try:
            meta: actors.CallMeta = ray.get(ref)
        except RayError as error:
            cause = classify(error)
            if cause.worker_lost:
                self._lose(call.worker, error)
            else:
                self._feed(ev.BatchFailed(call.batch, cause.kind, cause.type, cause.message))
            return
        sizes = {}
        for unit, probed in zip(call.units, meta.probed, strict=True):
            if probed and unit.clip in self._clips:
                sizes[unit.clip], self._probed[unit.clip] = probed.size, probed
                self._begin(unit.clip, probed.size.done)
        self._keep(made, meta)
        self._feed(ev.BatchDone(call.batch, sizes, meta.ended_s - meta.started_s))

    def _keep(self, made: "_Call", meta: actors.CallMeta) -> None:
        """Take what a call made, but for clips that have failed or begun again meanwhile."""
        call, given = made.submit, made.given
        batch, width = self.state.batches.get(call.batch), len(call.stage.gives)
        frames = {}
        for at, unit in enumerate(call.units):
            if batch is None or unit not in batch.units:
                continue
            self._artifacts.keep(call.stage, unit, given[at * width : (at + 1) * width])
            segments = self._probed[unit.clip].size.segments
            frames[unit] = segments.frames if call.stage.of_clip else len(segments.span(unit.segment))
            if row := meta.rows[at]:
                self._rows[unit.clip] = row
        if meta.settings != self._settings.setdefault(call.worker, settings(self.recipe.runtime)):
            self._settings[call.worker] = meta.settings
            log.warning("%s ran out of memory: from now on it has runtime.%s", call.worker, meta.settings)
        self.timeline.add(call.stage, call.worker, frames, meta, made.at_s)
        self._metrics.call(call.stage, call.worker, sum(frames.values()), meta)

    def _lose(self, worker: str, error: RayError) -> None:
        """Give a worker up, with whatever it still seems to do."""
        if worker not in self._actors:
            return
        self._end_worker(worker)
        self._calls = {ref: call for ref, call in self._calls.items() if call.submit.worker != worker}
        cause, with_node = classify(error), cluster.node_gone(error, self._node(worker))
        self._feed(ev.WorkerLost(worker, cause.message, with_node, cause.lasting))

    def _node(self, worker: str) -> str:
        return self.worker_metas[worker].node if worker in self.worker_metas else ""

    def _begin(self, clip: str, done: Collection[int]) -> None:
        segments = self._probed[clip].size.segments
        self._artifacts.begin(clip, segments, segments.ends(self.policy.path, done))

    def _end_worker(self, worker: str) -> None:
        self._actors.pop(worker).kill()
        self._loading = {ref: name for ref, name in self._loading.items() if name != worker}
        self._placing.drop(worker)

    def _feed(self, event: ev.Event) -> None:
        self._events.append(event)
        while self._events:
            for command in step(self.state, self._events.popleft(), time.monotonic()):
                log.debug("%s", command)
                self._do(command)

    def _do(self, command: ev.Command) -> None:
        match command:
            case ev.Submit():
                self._submit(command)
            case ev.StartWorker(worker=worker, pool=pool, role=role):
                self._actors[worker] = actors.start(self.recipe, self.placement.shares[pool], self.worker)
                self._placing.add(self._actors[worker].here(), worker, pool)
                self._loading[self._actors[worker].load(role)] = worker
            case ev.StopWorker(worker=worker):
                log.info("%s stops: %s", worker, command.reason)
                self._end_worker(worker)
            case ev.LoadRole(worker=worker, role=role):
                log.info("%s loads %s: %s", worker, role, command.reason)
                self._loading[self._actors[worker].load(role)] = worker
            case ev.WantRows(count=count):
                self._feed_rows(count)
            case ev.Forget(clip=clip, done=done):
                if clip in self._probed:
                    self._begin(clip, done)
            case ev.Commit():
                self._commit(command)
            case ev.Finish() | ev.Abort():
                log.info("%s", command.reason)
                self._end = command

    def _submit(self, call: ev.Submit) -> None:
        items = [self._item(call.stage, unit) for unit in call.units]
        facts = [self._facts_of(unit.clip) for unit in call.units] if call.stage.whole else []
        arrays = [*facts, *self._artifacts.inputs(call.stage, call.units)]
        meta, *given = self._actors[call.worker].run(call.stage, items, arrays)
        self._calls[meta] = _Call(call, given, time.time())

    def _item(self, stage: Stage, unit: Unit) -> Item:
        """What a worker is told; the facts of a whole clip come by reference."""
        item = Item(
            clip=self._clips[unit.clip],
            facts=None,
            output=self.output_uri(unit.clip),
            parts=self.parts_uri(unit.clip),
            number=unit.segment,
            budget_bytes=self.state.policy.budget_bytes,
        )
        probed = self._probed.get(unit.clip)
        if probed is None:
            return item
        segments = probed.size.segments
        facts = None if stage.whole else probed.facts.part(segments.span(unit.segment))
        return replace(item, facts=facts, segments=segments, parts=probed.parts)

    def _facts_of(self, clip: str) -> Any:
        """A reference to every timestamp of a clip: megabytes if it is long."""
        if clip not in self._facts:
            self._facts[clip] = ray.put(self._probed[clip].facts)
        return self._facts[clip]

    def _feed_rows(self, count: int) -> None:
        taken = list(islice(self.clips, count))
        self._clips.update({clip.id: clip for clip in taken})
        self._events.append(ev.RowsArrived(tuple(clip.id for clip in taken), exhausted=len(taken) < count))

    def _commit(self, command: ev.Commit) -> None:
        self._artifacts.drop(command.clip)
        self._metrics.commit(command.failure.type if command.failure else None)
        self._facts.pop(command.clip, None)
        probed = self._probed.pop(command.clip, None)
        if command.failure:
            log.warning("%s failed in %s: %s", command.clip, command.failure.stage, command.failure.message)
        self.finished(
            Finished(
                clip=self._clips.pop(command.clip),
                failure=command.failure,
                attempts=command.attempts,
                begun_again=command.begun_again,
                row=self._rows.pop(command.clip, {}),
                seconds=self.timeline.take(command.clip),
                segments=probed.size.segments.count if probed else 1,
            )
        )
