"""The scheduler's memory. Only unfinished clips are in it, so it does not grow with the manifest."""

from bisect import insort
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from evs_batch.scheduling.events import Size
from evs_batch.spec.work import Role, Stage


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a run may use and how patient it is."""

    path: tuple[Stage, ...]
    workers: Mapping[Role, int]
    call_frames: Mapping[Role, int]
    budget_bytes: int
    lookahead_clips: int
    calls_in_flight: int = 2
    max_wait_s: float = 0.5
    max_attempts: int = 3
    stall_s: float = 1800.0
    max_start_failures: int = 3


@dataclass
class ClipState:
    """Where a clip is: `at` indexes the path; `order` is its age."""

    key: str
    order: int
    at: int = 0
    size: Size | None = None
    admitted: bool = False
    attempts: int = 1
    ready_s: float = 0.0


@dataclass(frozen=True)
class Batch:
    """A call in flight."""

    number: int
    at: int
    clips: tuple[str, ...]
    worker: str


@dataclass
class WorkerState:
    """A process that is starting or up; `calls` are its batches, oldest first."""

    role: Role
    up: bool = False
    calls: list[int] = field(default_factory=list)


@dataclass
class State:
    """Owned by one run and changed by `step` in place; equal events give equal commands."""

    policy: Policy
    clips: dict[str, ClipState] = field(default_factory=dict)
    ready: dict[tuple[int, tuple[int, int]], list[tuple[int, str]]] = field(default_factory=dict)
    waiting: deque[str] = field(default_factory=deque)
    replays: dict[int, deque[tuple[str, ...]]] = field(default_factory=dict)
    workers: dict[str, WorkerState] = field(default_factory=dict)
    batches: dict[int, Batch] = field(default_factory=dict)
    clips_at: Counter[int] = field(default_factory=Counter)
    start_failures: Counter[Role] = field(default_factory=Counter)
    admitted_bytes: int = 0
    next_order: int = 0
    next_batch: int = 0
    next_worker: int = 0
    exhausted: bool = False
    asked: bool = False
    stopping: bool = False
    ended: bool = False
    progress_s: float | None = None

    def enqueue(self, clip: ClipState, now_s: float) -> None:
        """Offer a clip for its next call, behind older clips."""
        clip.ready_s = now_s
        shape = clip.size.shape if clip.size else (0, 0)
        insort(self.ready.setdefault((clip.at, shape), []), (clip.order, clip.key))

    def replay(self, at: int, clips: tuple[str, ...]) -> None:
        """Offer clips for a call of their own, before all others of the stage."""
        self.replays.setdefault(at, deque()).append(clips)

    def move(self, clip: ClipState, at: int) -> None:
        """Put a clip at another stage of the path."""
        self.clips_at[clip.at] -= 1
        clip.at = at
        self.clips_at[at] += 1

    def forget(self, clip: ClipState) -> None:
        """Drop a finished clip and give its credit back."""
        del self.clips[clip.key]
        self.clips_at[clip.at] -= 1
        if clip.admitted and clip.size:
            self.admitted_bytes -= clip.size.bytes
