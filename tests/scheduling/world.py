"""Builders for scheduler stories, and a random world that plays against it."""

from collections import Counter, defaultdict
from dataclasses import replace
from random import Random

from evs_batch.scheduling import events as ev
from evs_batch.scheduling.artifacts import Artifacts
from evs_batch.scheduling.policy import Policy, Pool
from evs_batch.scheduling.state import ADMISSION, State
from evs_batch.scheduling.step import step
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.segments import Segments, cut
from evs_batch.spec.work import Unit, path


def pools(**sizes: int) -> dict[str, Pool]:
    """Pools of one role each."""
    return {role: Pool(size, (role,)) for role, size in sizes.items()}


def up(worker: str) -> ev.WorkerUp:
    """A worker of a pool of one role has loaded it."""
    role = worker.split("-", maxsplit=1)[0]
    return ev.WorkerUp(worker, role, frozenset([role]), load_s=1.0)


def policy(**changes) -> Policy:
    """One worker of each role, calls of 64 frames, room for 100 bytes."""
    known = {
        "path": path(Recipe()),
        "pools": pools(t2i=1, t2v=1, media=1),
        "call_frames": {"t2i": 64, "t2v": 64},
        "budget_bytes": 100,
        "lookahead_clips": 8,
        "max_wait_s": 1.0,
        "stall_s": 100.0,
    }
    return Policy(**{**known, **changes})


def play(state: State, *events: ev.Event, now_s: float = 0.0) -> list[ev.Command]:
    """Feed events; returns all commands."""
    return [command for event in events for command in step(state, event, now_s)]


def only(commands: list[ev.Command], kind: type) -> list:
    return [command for command in commands if isinstance(command, kind)]


SIZE = ev.Size(Segments(16), 8, 2, (64, 64))


def clips_of(call: ev.Submit) -> tuple[str, ...]:
    return tuple(unit.clip for unit in call.units)


def started(*clips: str, exhausted: bool = True, size: ev.Size = SIZE, **changes) -> tuple[State, dict[str, ev.Submit]]:
    """A run whose workers are up and whose clips are decoded; returns what was submitted last, by worker role."""
    state = State(policy(**changes))
    commands = play(state, ev.Tick(), ev.RowsArrived(clips, exhausted))
    commands += play(state, *[up(command.worker) for command in only(commands, ev.StartWorker)])
    while calls := [call for call in only(commands, ev.Submit) if call.stage.role == "media"]:
        sizes = {name: size for call in calls if call.stage.name == "probe" for name in clips_of(call)}
        later = [c for c in only(commands, ev.Submit) if c.stage.role != "media"]
        commands = later + play(
            state, *[ev.BatchDone(call.batch, {n: sizes[n] for n in clips_of(call)} if sizes else {}) for call in calls]
        )
    return state, {call.stage.name: call for call in only(commands, ev.Submit)}


class World:
    """Workers, videos and faults by a seed: delivers events in any order that could really happen."""

    def __init__(self, seed: int, clips: int, chaos: float, longest: int = 1000, **changes) -> None:
        self.random, self.chaos = Random(seed), chaos
        self.state = State(policy(**changes))
        self.rows = [f"clip{number}" for number in range(clips)]
        self.poison = {name for name in self.rows if self.random.random() < chaos / 2}
        self.sizes = {name: self._size(longest) for name in self.rows}
        self.artifacts = Artifacts(self.state.policy.path)
        self.running: dict[int, ev.Submit] = {}
        self.loading: list[tuple[str, str]] = []
        self.held: dict[str, frozenset[str]] = {}
        self.commits: Counter[str] = Counter()
        self.failures: dict[str, ev.Failure] = {}
        self.done: dict[Unit, list[str]] = defaultdict(list)
        self.end: ev.Finish | ev.Abort | None = None
        self.now_s, self.steps = 0.0, 0

    def _size(self, longest: int) -> ev.Size:
        segments = cut(self.random.choice([8, 16, 24, 64, 80, 200]), longest)
        resumed = segments.count > 1 and self.random.random() < 0.3
        return ev.Size(
            segments=segments,
            pixel_bytes=self.random.randint(1, 30),
            latent_bytes=self.random.randint(1, 10),
            shape=self.random.choice([(64, 64), (32, 32)]),
            done=frozenset(n for n in range(segments.count) if resumed and self.random.random() < 0.6),
        )

    def run(self, max_steps: int = 20_000) -> None:
        """Play until the scheduler ends."""
        self._do(play(self.state, ev.Tick(), now_s=0.0))
        while self.end is None:
            self.steps += 1
            assert self.steps < max_steps, "the run does not end"
            self.now_s += self.random.random()
            self._do(play(self.state, self._happen(), now_s=self.now_s))
            self._check()

    def _happen(self) -> ev.Event:
        choices = (
            ["tick"]
            + ["cluster"] * (self.random.random() < self.chaos / 10)
            + ["load"] * bool(self.loading)
            + ["finish"] * 3 * bool(self.running)
        )
        match self.random.choice(choices):
            case "cluster":
                return self._change()
            case "load":
                return self._load(*self.loading.pop(self.random.randrange(len(self.loading))))
            case "finish":
                return self._finish(self._oldest_of_a_worker())
            case _:
                return ev.Tick()

    def _change(self) -> ev.Event:
        """The cluster gets larger or smaller; a node that leaves takes a worker with it."""
        pools = dict(self.state.policy.pools)
        name = self.random.choice(sorted(pools))
        up = [worker for worker in self.held if worker.startswith(name) and worker in self.state.crew.all]
        if up and self.random.random() < 0.3:
            return ev.WorkerLeaves(self.random.choice(up))
        if up and self.random.random() < 0.5:
            self.running = {b: c for b, c in self.running.items() if c.worker != up[0]}
            self.loading = [found for found in self.loading if found[0] != up[0]]
            return ev.WorkerLost(up[0], "its node is gone", with_node=True)
        pools[name] = replace(pools[name], size=self.random.randint(1, 4))
        budget = self.state.policy.budget_bytes
        return ev.PoolsChanged(pools, self.random.choice([budget, budget // 2, 2 * budget]))

    def _load(self, worker: str, role: str) -> ev.Event:
        if self.random.random() < self.chaos / 4:
            return ev.WorkerLost(worker, "died while loading")
        held, keeps = (
            self.held.get(worker, frozenset()),
            self.state.policy.pools[worker.split("-", maxsplit=1)[0]].keeps,
        )
        no_room = len(held) >= keeps or self.random.random() < self.chaos / 8
        self.held[worker] = frozenset([role]) if no_room else held | {role}
        return ev.WorkerUp(worker, role, self.held[worker], load_s=self.random.random())

    def _oldest_of_a_worker(self) -> ev.Submit:
        worker = self.random.choice(sorted({call.worker for call in self.running.values()}))
        return min((call for call in self.running.values() if call.worker == worker), key=lambda call: call.batch)

    def _finish(self, call: ev.Submit) -> ev.Event:
        guilty = call.stage.name == "t2v" and self.poison & {unit.clip for unit in call.units}
        accident = self.random.random() < self.chaos / 8
        if (guilty and self.random.random() < 0.5) or (accident and self.random.random() < 0.5):
            self.running = {b: c for b, c in self.running.items() if c.worker != call.worker}
            return ev.WorkerLost(call.worker, "killed")
        del self.running[call.batch]
        if guilty or accident:
            kind = self.random.choice(
                [ev.FailureKind.ERROR, ev.FailureKind.OUT_OF_MEMORY] + [ev.FailureKind.DATA_LOST] * (not guilty)
            )
            return ev.BatchFailed(call.batch, kind, "Boom", "it broke")
        for unit in self._valid(call):
            self.done[unit].append(call.stage.name)
            if call.stage.name == "probe":
                self._begin(unit.clip, self.sizes[unit.clip].done)
            self.artifacts.keep(call.stage, unit, [f"{name} of {unit}" for name in call.stage.gives])
        sizes = {unit.clip: self.sizes[unit.clip] for unit in call.units} if call.stage.name == "probe" else {}
        return ev.BatchDone(call.batch, sizes, self.random.random())

    def _valid(self, call: ev.Submit) -> tuple[Unit, ...]:
        """What still counts of a call."""
        batch = self.state.batches.get(call.batch)
        return batch.units if batch else ()

    def ends(self, clip: str) -> tuple[int, ...]:
        """How far the segments of a clip go."""
        return self.sizes[clip].segments.ends(self.state.policy.path, self.sizes[clip].done)

    def _begin(self, clip: str, done: frozenset[int]) -> None:
        segments = self.sizes[clip].segments
        self.artifacts.begin(clip, segments, segments.ends(self.state.policy.path, done))

    def _do(self, commands: list[ev.Command]) -> None:
        for command in commands:
            assert command.reason, command
            match command:
                case ev.WantRows(count=count):
                    taken, self.rows = self.rows[:count], self.rows[count:]
                    self._do(play(self.state, ev.RowsArrived(tuple(taken), not self.rows), now_s=self.now_s))
                case ev.StartWorker(worker=worker, role=role) | ev.LoadRole(worker=worker, role=role):
                    assert not any(call.worker == worker for call in self.running.values())
                    self.loading.append((worker, role))
                case ev.StopWorker(worker=worker):
                    self.loading = [found for found in self.loading if found[0] != worker]
                case ev.Submit(batch=batch, stage=stage, units=units):
                    self.running[batch] = command
                    assert stage.role in self.held[command.worker], "only who holds a model can run it"
                    self.artifacts.inputs(stage, units)  # a KeyError if something is not there
                case ev.Forget(clip=clip, done=done):
                    self._begin(clip, done)
                case ev.Commit(clip=clip, failure=failure):
                    self.commits[clip] += 1
                    self.artifacts.drop(clip)
                    if failure:
                        self.failures[clip] = failure
                case ev.Finish() | ev.Abort():
                    self.end = command

    def _check(self) -> None:
        """What must hold after every step."""
        state = self.state
        for at in range(len(state.policy.path)):
            units = [unit for clip in state.clips.values() for unit in clip.units.values() if unit.at == at]
            assert (state.units_at[at], state.blocked_at[at]) == (len(units), sum(unit.blocked for unit in units))
        assert 0 <= state.admitted_bytes <= state.most_bytes
        running = [(call, self._valid(call)) for call in self.running.values()]
        in_flight = Counter(unit for _, units in running for unit in units)
        assert max(in_flight.values(), default=0) <= 1, "a segment is in two calls at once"
        of_worker = Counter(call.worker for call, _ in running)
        assert max(of_worker.values(), default=0) <= state.policy.calls_in_flight
        for call, _ in running:
            assert len({self.sizes[unit.clip].shape for unit in call.units}) == 1
            frames = [len(self.sizes[unit.clip].segments.span(unit.segment)) for unit in call.units]
            assert len(frames) == 1 or sum(frames) <= state.policy.call_frames.get(call.stage.role, 0)
        for name, clip in state.clips.items():
            held, size = self.artifacts.held(name), self.sizes[name]
            segments = {segment for segment, _ in held} | set(clip.units)
            coming = {unit.unit.segment for unit in clip.units.values() if unit.at == ADMISSION and not unit.blocked}
            with_pixels = {segment for segment, artifact in held if artifact == "frames"} | coming
            needed_bytes = len(with_pixels) * size.pixel_bytes + len(segments) * size.latent_bytes
            assert not clip.credit or needed_bytes <= clip.credit.bytes
