"""The scheduler's memory. Only unfinished clips are in it, so it does not grow with the manifest."""

from collections import Counter, deque
from dataclasses import dataclass, field, replace

from evs_batch.scheduling.crew import Crew
from evs_batch.scheduling.events import Size
from evs_batch.scheduling.pace import Pace
from evs_batch.scheduling.policy import Policy
from evs_batch.scheduling.queues import Key, Queues
from evs_batch.spec.work import Role, Unit

ADMISSION = 1  # the probe is free; every later stage needs a credit


@dataclass
class UnitState:
    """Where an open segment is: `at` indexes the path; it is `blocked` while it waits for other segments."""

    unit: Unit
    at: int
    attempts: int
    ready_s: float = 0.0
    blocked: bool = False


@dataclass(frozen=True, kw_only=True)
class Credit:
    """Bytes for `held` segments of a clip: `ahead` of them open, `with_pixels` with frames, the others with latents.

    A segment's frames may be `lent` to so many neighbours on each side, in its last stage.
    """

    bytes: int
    frames: int
    with_pixels: int
    held: int
    ahead: int
    lent: int = 0


@dataclass
class ClipState:
    """A clip and its open segments; `order` is its age.

    Segments are opened in turn, as many as the credit allows; each passes the stages before its end.
    """

    key: str
    order: int
    size: Size | None = None
    ends: tuple[int, ...] = ()
    credit: Credit | None = None
    opened: int = 0
    units: dict[int, UnitState] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    restarts: int = 0
    losses: int = 0  # of its data, with a node
    attempts: int = 1
    reader: str = ""  # the worker that has its file open

    @property
    def count(self) -> int:
        """Segments, finished or not."""
        return self.size.segments.count if self.size else 1

    def frames(self, segment: int) -> int:
        return len(self.size.segments.span(segment)) if self.size else 1

    def passed(self, segment: int, at: int) -> bool:
        """Whether a segment has come as far as a stage."""
        return self.units[segment].at >= at if segment in self.units else segment < self.opened


@dataclass(frozen=True)
class Batch:
    """A call in flight."""

    number: int
    at: int
    units: tuple[Unit, ...]
    worker: str


@dataclass
class State:
    """Owned by one run and changed by `step` in place; equal events give equal commands."""

    policy: Policy
    clips: dict[str, ClipState] = field(default_factory=dict)
    waiting: deque[str] = field(default_factory=deque)
    queues: Queues = field(default_factory=Queues)
    replays: dict[int, deque[tuple[Unit, ...]]] = field(default_factory=dict)
    batches: dict[int, Batch] = field(default_factory=dict)
    units_at: Counter[int] = field(default_factory=Counter)
    blocked_at: Counter[int] = field(default_factory=Counter)
    start_failures: Counter[Role] = field(default_factory=Counter)
    most_frames: dict[tuple[int, tuple[int, int]], int] = field(default_factory=dict)  # by stage and picture size
    pace: Pace = field(default_factory=Pace)
    lost_s: dict[Role, float] = field(default_factory=dict)  # of workers that could have done a role's work
    switched_s: float | None = None
    most_bytes: int = 0  # the largest budget so far
    admitted: int = 0
    admitted_bytes: int = 0
    admitted_frames: int = 0
    next_order: int = 0
    next_batch: int = 0
    next_worker: int = 0
    exhausted: bool = False
    asked: bool = False
    stopping: bool = False
    ended: bool = False
    hangs: int = 0  # since a call ended
    progress_s: float | None = None

    def __post_init__(self) -> None:
        self.crew = Crew(self.policy.calls_in_flight)
        self.most_bytes = self.policy.budget_bytes

    @property
    def ending(self) -> bool:
        """Whether no more clips will begin."""
        return self.exhausted and not self.waiting and not any(self.units_at[at] for at in range(ADMISSION + 1))

    def unit(self, unit: Unit) -> UnitState:
        return self.clips[unit.clip].units[unit.segment]

    def open(self, clip: ClipState, segment: int, at: int) -> UnitState:
        """Bring a segment into play."""
        unit = UnitState(Unit(clip.key, segment), at, 1 + clip.restarts)
        clip.units[segment] = unit
        clip.opened = max(clip.opened, segment + 1)
        self.units_at[at] += 1
        return unit

    def admit(self, clip: ClipState, credit: Credit, now_s: float) -> None:
        """Let a probed clip begin."""
        clip.credit = credit
        self.admitted += 1
        self.admitted_bytes += credit.bytes
        self.admitted_frames += credit.frames
        if clip.ends[0] > ADMISSION:
            self.enqueue(clip.units[0], now_s)
        else:
            self.close(clip.units[0])
        self.open_more(clip, now_s)

    def open_more(self, clip: ClipState, now_s: float) -> None:
        """Offer the next segments of an admitted clip, as many as its credit allows; after the last, the clip."""
        assert clip.credit, "no segment is opened without a credit"
        while clip.opened < min(clip.count, min(clip.units, default=clip.opened) + clip.credit.ahead):
            if clip.ends[clip.opened] > ADMISSION:
                self.enqueue(self.open(clip, clip.opened, ADMISSION), now_s)
            else:
                clip.opened += 1
        if not clip.units:
            self.enqueue(self.open(clip, 0, self.policy.join), now_s)

    def enqueue(self, unit: UnitState, now_s: float) -> None:
        """Offer a segment for its next call, behind older clips; one that needs others waits until they are there."""
        clip, number = self.clips[unit.unit.clip], unit.unit.segment
        self.blocked_at[unit.at] -= unit.blocked
        unit.blocked = not self._may_go(clip, unit)
        self.blocked_at[unit.at] += unit.blocked
        if unit.blocked:
            return
        unit.ready_s = now_s
        known = self.policy.path[unit.at].in_turn and clip.reader in self.crew.all
        key = Key(clip.size.shape if clip.size else (0, 0), clip.reader if known else "")
        self.queues.put(unit.at, key, clip.order, unit.unit, clip.frames(number))

    def _may_go(self, clip: ClipState, unit: UnitState) -> bool:
        """Whether the segments that a stage looks at are there, and there is room for the frames that it makes."""
        if clip.size is None or clip.credit is None or clip.count == 1 or unit.at == self.policy.join:
            return True
        stage, number = self.policy.path[unit.at], unit.unit.segment
        if stage.in_turn and number > 0 and not clip.passed(number - 1, unit.at + 1):
            return False
        if not all(clip.passed(at, unit.at) for at in clip.size.segments.lenders(stage, number)):
            return False
        makes_pixels = "frames" in stage.gives and "frames" not in stage.needs
        lent = clip.credit.lent
        first_counted = min(clip.units) + lent + 1 if lent else 0  # the oldest waits for those before
        if not makes_pixels or number < first_counted:
            return True
        others = [other for at, other in clip.units.items() if other is not unit and at >= first_counted]
        last = self.policy.join - 1  # where frames are lent
        still_lent = sum(
            at not in clip.units and any(near in clip.units for near in range(at - lent, at + lent + 1))
            for at in (range(first_counted, clip.opened) if lent else ())
            if clip.ends[at] >= last
        )
        return sum(map(self._has_pixels, others)) + still_lent < clip.credit.with_pixels

    def _has_pixels(self, unit: UnitState) -> bool:
        stage = self.policy.path[unit.at]
        return "frames" in stage.needs or ("frames" in stage.gives and not unit.blocked)

    def wake(self, clip: ClipState, now_s: float) -> None:
        """Offer the segments that have waited for others."""
        for unit in [unit for unit in clip.units.values() if unit.blocked]:
            self.enqueue(unit, now_s)

    def moving(self, at: int) -> int:
        """Segments at a stage that wait neither for others nor for memory."""
        return self.units_at[at] - self.blocked_at[at] - (len(self.waiting) if at == ADMISSION else 0)

    def replay(self, at: int, units: tuple[Unit, ...]) -> None:
        """Offer segments for a call of their own, before all others of the stage."""
        self.replays.setdefault(at, deque()).append(units)

    def move(self, unit: UnitState, at: int) -> None:
        """Put a segment at another stage of the path."""
        self.units_at[unit.at] -= 1
        unit.at = at
        self.units_at[at] += 1

    def close(self, unit: UnitState) -> None:
        """Drop a finished segment."""
        del self.clips[unit.unit.clip].units[unit.unit.segment]
        self.units_at[unit.at] -= 1
        self.blocked_at[unit.at] -= unit.blocked

    def withdraw(self, clip: ClipState) -> None:
        """Drop a clip's segments wherever they are; what running calls make of them does not count any more."""
        if not clip.units:
            return
        for unit in list(clip.units.values()):
            self.close(unit)

        def others(units: tuple[Unit, ...]) -> tuple[Unit, ...]:
            return tuple(unit for unit in units if unit.clip != clip.key)

        self.queues.drop(clip.order, clip.key)
        self.replays = {at: deque(filter(None, map(others, queue))) for at, queue in self.replays.items()}
        self.batches = {number: replace(batch, units=others(batch.units)) for number, batch in self.batches.items()}

    def forget(self, clip: ClipState) -> None:
        """Drop a clip that has ended and give its credit back."""
        self.withdraw(clip)
        del self.clips[clip.key]
        if clip.credit:
            self.admitted -= 1
            self.admitted_bytes -= clip.credit.bytes
            self.admitted_frames -= clip.credit.frames
