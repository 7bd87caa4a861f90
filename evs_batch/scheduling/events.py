"""What the scheduler hears and what it says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from evs_batch.scheduling.policy import Pool
from evs_batch.spec.segments import Segments
from evs_batch.spec.work import Role, Stage, Unit


class FailureKind(StrEnum):
    """Why a call failed, as far as the policy cares."""

    BAD_INPUT = "bad_input"
    ERROR = "error"
    OUT_OF_MEMORY = "out_of_memory"
    WORKER_DIED = "worker_died"
    HUNG = "hung"
    DATA_LOST = "data_lost"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One failed call; `type` is the name of the error that a person would search for."""

    kind: FailureKind
    stage: str
    type: str
    message: str


@dataclass(frozen=True)
class Size:
    """What a probe tells: segments, those that an earlier run has done, and (height, width) in pixels.

    A segment needs `pixel_bytes` while it has frames, before and after the models, and `latent_bytes` all the time.
    """

    segments: Segments
    pixel_bytes: int
    latent_bytes: int
    shape: tuple[int, int]
    done: frozenset[int] = frozenset()


@dataclass(frozen=True)
class RowsArrived:
    clips: tuple[str, ...]
    exhausted: bool


@dataclass(frozen=True)
class WorkerUp:
    """A worker has loaded `role` in so many seconds, now holds these, and waits for calls."""

    worker: str
    role: Role
    held: frozenset[Role]
    load_s: float = 0.0


@dataclass(frozen=True)
class WorkerLost:
    """A process is gone; `with_node`, its calls had no part in it. `hopeless`: no other one would start either."""

    worker: str
    cause: str
    with_node: bool = False
    hopeless: bool = False


@dataclass(frozen=True)
class WorkerLeaves:
    """The node of a worker is drained: what it has begun it ends."""

    worker: str


@dataclass(frozen=True)
class PoolsChanged:
    """The cluster has grown or shrunk: how many workers, and how many bytes, it can hold now."""

    pools: Mapping[str, Pool]
    budget_bytes: int


@dataclass(frozen=True)
class BatchDone:
    batch: int
    sizes: Mapping[str, Size] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class BatchFailed:
    batch: int
    kind: FailureKind
    type: str
    message: str


@dataclass(frozen=True)
class Tick:
    pass


@dataclass(frozen=True)
class StopRequested:
    pass


Event = (
    RowsArrived | WorkerUp | WorkerLost | WorkerLeaves | PoolsChanged | BatchDone | BatchFailed | Tick | StopRequested
)


@dataclass(frozen=True, kw_only=True)
class WantRows:
    count: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class StartWorker:
    """Start a process for a pool, and load a role's models there."""

    worker: str
    pool: str
    role: Role
    reason: str


@dataclass(frozen=True, kw_only=True)
class StopWorker:
    """A worker that has not come up is not wanted any more."""

    worker: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LoadRole:
    """Load a role's models in a worker that is up, in the place of others if there is no room for both."""

    worker: str
    role: Role
    reason: str


@dataclass(frozen=True, kw_only=True)
class Submit:
    batch: int
    worker: str
    stage: Stage
    units: tuple[Unit, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Forget:
    """What a clip has in memory is of no use any more: it starts again from its source, without what is `done`."""

    clip: str
    done: frozenset[int] = frozenset()
    reason: str


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A clip is finished, one way or the other. Said exactly once for every clip.

    Calls of one that has `begun_again` may still be under way.
    """

    clip: str
    failure: Failure | None
    attempts: int
    begun_again: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Finish:
    interrupted: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Abort:
    reason: str


Command = WantRows | StartWorker | StopWorker | LoadRole | Submit | Forget | Commit | Finish | Abort
