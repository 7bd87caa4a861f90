"""The workers of a run, and which of them can take a call."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from evs_batch.scheduling.pace import WEIGHT
from evs_batch.spec.work import Role

SPEED_STEPS = 3  # smaller differences are noise, and workers of one speed take turns


@dataclass
class WorkerState:
    """A process: the roles that it can take, those that it holds, the one that it is loading, its calls, oldest first.

    It `keeps` so many roles at once; fewer than its pool says where one had to go for another.
    """

    pool: str
    roles: tuple[Role, ...]
    keeps: int
    loading: Role | None
    held: frozenset[Role] = frozenset()
    calls: list[int] = field(default_factory=list)
    since_s: float = 0.0  # when the oldest of them began
    speed: float = 1.0  # against the mean
    leaves: bool = False  # it gets no more calls
    alone: bool = False  # its call is a suspect

    @property
    def closed(self) -> bool:
        """Whether it gets no call now, even if it has room."""
        return bool(self.loading) or self.leaves or self.alone

    @property
    def up(self) -> bool:
        return bool(self.held)


class Crew:
    """All workers by name. Those that can take a call of a role are looked up, not searched: there may be thousands."""

    def __init__(self, calls_in_flight: int) -> None:
        self._limit, self.all = calls_in_flight, dict[str, WorkerState]()
        self.leaving: list[str] = []
        self.present: Counter[str] = Counter()
        self.holders: Counter[Role] = Counter()
        self._idle: dict[Role, dict[str, None]] = defaultdict(dict)
        self._spare: dict[Role, dict[str, None]] = defaultdict(dict)
        self._lacking: dict[Role, dict[str, None]] = defaultdict(dict)

    def add(self, name: str, worker: WorkerState) -> None:
        self.all[name] = worker
        self.present[worker.pool] += 1
        self.holders.update(_counted(worker))

    def remove(self, name: str) -> WorkerState | None:
        """Take a worker out; None if it is gone already."""
        worker = self.all.pop(name, None)
        if worker:
            self.present[worker.pool] -= 1
            self.holders.subtract(_counted(worker))
            self._unlist(name, worker)
            self.leaving = [other for other in self.leaving if other != name]
        return worker

    def leave(self, name: str) -> None:
        """A worker gets no more calls."""
        worker = self.all[name]
        self.holders.subtract(_counted(worker))
        worker.leaves = True
        self._unlist(name, worker)
        self.leaving.append(name)

    def load(self, name: str, role: Role) -> None:
        """A worker without calls begins to load a role's models: it counts as one that holds them."""
        self.all[name].loading = role
        self.holders[role] += 1
        self._unlist(name, self.all[name])

    def loaded(self, name: str, held: frozenset[Role]) -> None:
        """A worker holds these roles now, and waits for calls."""
        worker = self.all[name]
        self.holders.subtract(_counted(worker))
        if not worker.held <= held:
            worker.keeps = len(held)
        worker.held, worker.loading = held, None
        self.holders.update(_counted(worker))
        self._list(name, worker)

    def give(self, name: str, batch: int, now_s: float, *, alone: bool) -> None:
        """A worker gets a call, which begins when it has no other; if `alone`, no other follows until it has ended."""
        worker = self.all[name]
        worker.alone = alone
        self._unlist(name, worker)
        worker.since_s = worker.since_s if worker.calls else now_s
        worker.calls.append(batch)
        self._list(name, worker)

    def take(self, name: str, batch: int, now_s: float) -> None:
        """A call of a worker has ended; the next one begins."""
        worker = self.all[name]
        self._unlist(name, worker)
        worker.calls.remove(batch)
        worker.alone = False
        worker.since_s = now_s
        self._list(name, worker)

    def free(self, role: Role, *, spare: bool) -> str | None:
        """A worker for a call, the fastest: one that has none, else with `spare` one that has room for another."""
        listed = self._idle[role] or (self._spare[role] if spare else {})
        return max(listed, key=lambda name: round(SPEED_STEPS * self.all[name].speed), default=None)

    def measured(self, name: str, ratio: float) -> None:
        """A worker has done a call in the usual time over `ratio`."""
        self.all[name].speed += WEIGHT * (ratio - self.all[name].speed)

    def has_room(self, name: str, *, spare: bool) -> bool:
        """Whether this very worker can take a call."""
        worker = self.all[name]
        return worker.up and not worker.closed and len(worker.calls) < (self._limit if spare else 1)

    def could_load(self, role: Role) -> str | None:
        """A worker that has nothing to do and may take a role that it does not hold."""
        return next(iter(self._lacking[role]), None)

    def _list(self, name: str, worker: WorkerState) -> None:
        if worker.closed or len(worker.calls) >= self._limit:
            return
        for role in worker.held:
            (self._spare if worker.calls else self._idle)[role][name] = None
        for role in worker.roles if not worker.calls else ():
            if role not in worker.held:
                self._lacking[role][name] = None

    def _unlist(self, name: str, worker: WorkerState) -> None:
        for role in worker.roles:
            for listed in (self._idle, self._spare, self._lacking):
                listed[role].pop(name, None)


def _counted(worker: WorkerState) -> frozenset[Role]:
    """What a worker has and will have."""
    if worker.leaves:
        return frozenset()
    coming: frozenset[Role] = frozenset([worker.loading] if worker.loading else [])
    return worker.held | coming
