"""The scheduler under a simulated clock: the very code that runs a job, with durations instead of work.

`bench schedule` measures policies with it, and `plan` foretells a run.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count, islice

from evs_batch.scheduling import events as ev
from evs_batch.scheduling.policy import Policy
from evs_batch.scheduling.state import State
from evs_batch.scheduling.step import step
from evs_batch.spec.segments import cut
from evs_batch.spec.work import Role, Stage, Unit


def _alike(stage: Stage, size: ev.Size) -> float:
    return 1.0


@dataclass(frozen=True, kw_only=True)
class Durations:
    """Seconds: a call takes `frame_s` of its stage for every frame, one of models `call_s` beside it.

    A clip's media calls take `media_s` beside it, the first load of a role `start_s`, later ones `load_s`. `relative`
    says how many times as long as `frame_s` a frame of such a clip takes; a call of a stage computes as if its frames
    were a multiple of `forward`. `hand_off_s` passes between the end of a
    call and the moment when the scheduler hears of it. A worker that is the n-th of its pool works
    `speeds[n % len(speeds)]` times as fast.
    """

    frame_s: Mapping[str, float]
    relative: Callable[[Stage, ev.Size], float] = _alike
    forward: Mapping[Role, int] = field(default_factory=dict)
    call_s: float = 0.0
    media_s: Mapping[str, float] = field(default_factory=dict)
    start_s: Mapping[Role, float] = field(default_factory=dict)
    load_s: Mapping[Role, float] = field(default_factory=dict)
    hand_off_s: float = 0.0
    speeds: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a simulated run came to. `busy_s` is the time of model calls, `loads` counts changes of roles.

    `most_bytes` is what clips in flight were promised at once, at most; `started` how many workers each pool started.
    """

    seconds: float
    busy_s: float
    commits: Mapping[str, int]
    end: ev.Finish | ev.Abort
    decisions: int
    loads: int
    most_bytes: int
    started: Mapping[str, int]


@dataclass
class _Worker:
    """A process: it does its calls one after the other."""

    keeps: int
    speed: float
    held: frozenset[Role] = frozenset()
    calls: deque[ev.Submit | ev.LoadRole] = field(default_factory=deque)


class Simulation:
    """One run over clips of these sizes."""

    def __init__(self, policy: Policy, durations: Durations, clips: Mapping[str, ev.Size]) -> None:
        self._policy, self._durations, self._state = policy, durations, State(policy)
        self._sizes, self._rows = clips, iter(clips)
        self._workers: dict[str, _Worker] = {}
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._number, self._now_s = count(), 0.0
        self._commits: Counter[str] = Counter()
        self._busy_s, self._decisions, self._loads, self._most_bytes = 0.0, 0, 0, 0
        self._started: Counter[str] = Counter()
        self._end: ev.Finish | ev.Abort | None = None

    def run(self) -> Outcome:
        """Play to the end; raises AssertionError if nothing can happen any more."""
        self._feed(ev.Tick())
        while self._end is None:
            if not self._agenda or self._agenda[0][0] > self._now_s + self._state.policy.max_wait_s:
                self._tick_until(self._agenda[0][0] if self._agenda else self._now_s + self._state.policy.stall_s)
                continue
            self._now_s, _, happen = heapq.heappop(self._agenda)
            happen()
        return Outcome(
            seconds=self._now_s,
            busy_s=self._busy_s,
            commits=self._commits,
            end=self._end,
            decisions=self._decisions,
            loads=self._loads,
            most_bytes=self._most_bytes,
            started=self._started,
        )

    def _tick_until(self, limit_s: float) -> None:
        """The clock goes on without news: some decisions are a matter of patience."""
        self._now_s = min(limit_s, self._now_s + self._state.policy.max_wait_s)
        self._feed(ev.Tick())

    def _at(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self._now_s + seconds, next(self._number), happen))

    def _feed(self, *events: ev.Event) -> None:
        waiting = deque(events)
        while waiting and self._end is None:
            for command in step(self._state, waiting.popleft(), self._now_s):
                self._decisions += 1
                waiting.extend(self._do(command))
            self._most_bytes = max(self._most_bytes, self._state.admitted_bytes)

    def _do(self, command: ev.Command) -> Iterable[ev.Event]:
        match command:
            case ev.WantRows(count=wanted):
                rows = list(islice(self._rows, wanted))
                return [ev.RowsArrived(tuple(rows), exhausted=len(rows) < wanted)]
            case ev.StartWorker(worker=name, pool=pool):
                speeds, number = self._durations.speeds, self._started.total()
                self._workers[name] = _Worker(self._policy.pools[pool].keeps, speeds[number % len(speeds)])
                self._started[pool] += 1
                self._at(self._durations.start_s.get(command.role, 0.0), lambda: self._up(name, command.role))
            case ev.Submit(worker=name) | ev.LoadRole(worker=name):
                self._workers[name].calls.append(command)
                if len(self._workers[name].calls) == 1:
                    self._begin(name)
            case ev.Commit(clip=clip):
                self._commits[clip] += 1
            case ev.Finish() | ev.Abort():
                self._end = command
            case ev.Forget() | ev.StopWorker():
                pass
        return ()

    def _up(self, name: str, role: Role) -> None:
        """A worker has loaded a role; if it keeps one only, it has put the other away."""
        worker, new = self._workers[name], _one(role)
        worker.held = worker.held | new if len(worker.held) < worker.keeps else new
        self._feed(ev.WorkerUp(name, role, worker.held, self._durations.load_s.get(role, 0.0)))

    def _begin(self, name: str) -> None:
        worker = self._workers[name]
        call = worker.calls[0]
        seconds = self._seconds(call, worker.speed)
        if isinstance(call, ev.LoadRole):
            self._loads += 1
        elif call.stage.role != "media":
            self._busy_s += seconds

        def ended() -> None:
            worker.calls.popleft()
            if worker.calls:
                self._begin(name)
            self._at(self._durations.hand_off_s, heard)

        def heard() -> None:
            if isinstance(call, ev.LoadRole):
                self._up(name, call.role)
            else:
                self._feed(self._done(call, seconds))

        self._at(seconds, ended)

    def _done(self, call: ev.Submit, seconds: float) -> ev.BatchDone:
        sizes = {unit.clip: self._sizes[unit.clip] for unit in call.units} if call.stage.name == "probe" else {}
        return ev.BatchDone(call.batch, sizes, seconds)

    def _seconds(self, call: ev.Submit | ev.LoadRole, speed: float) -> float:
        durations = self._durations
        if isinstance(call, ev.LoadRole):
            return durations.load_s.get(call.role, 0.0)
        forward = durations.forward.get(call.stage.role, 1)
        frames = sum(self._frames(call.stage, unit) for unit in call.units)
        filled = -(-frames // forward) * forward / max(1, frames)
        frame_s = filled * sum(self._frames_s(call.stage, unit) for unit in call.units)
        if call.stage.role == "media":
            return durations.media_s.get(call.stage.name, 0.0) * len(call.units) + frame_s
        return (durations.call_s + frame_s) / speed

    def _frames_s(self, stage: Stage, unit: Unit) -> float:
        known, size = self._durations.frame_s, self._sizes[unit.clip]
        frame_s = known.get(stage.name, 0.0) if stage.role == "media" else known[stage.name]
        return frame_s * self._durations.relative(stage, size) * self._frames(stage, unit)

    def _frames(self, stage: Stage, unit: Unit) -> int:
        segments = self._sizes[unit.clip].segments
        return segments.frames if stage.of_clip else len(segments.span(unit.segment))


def _one(role: Role) -> frozenset[Role]:
    return frozenset([role])


def simulate(policy: Policy, durations: Durations, clips: Mapping[str, ev.Size]) -> Outcome:
    """Run clips under a policy; nothing is computed but time."""
    return Simulation(policy, durations, clips).run()


def weightless(clips: Mapping[str, int], segment_frames: int = 64) -> dict[str, ev.Size]:
    """Sizes of clips of so many frames, which take no memory and are all of one shape."""
    return {name: ev.Size(cut(frames, segment_frames), 0, 0, (64, 64)) for name, frames in clips.items()}
