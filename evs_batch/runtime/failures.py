"""Ray's errors as the failure kinds of the scheduler."""

from dataclasses import dataclass

from ray import exceptions as rex

from evs_batch.scheduling.events import FailureKind
from evs_batch.spec.errors import EvsError, MediaError

MAX_MESSAGE_CHARS = 1000


@dataclass(frozen=True)
class Cause:
    """A failed call in the scheduler's terms; `worker_lost` when its process is gone."""

    kind: FailureKind
    type: str
    message: str
    worker_lost: bool = False


def classify(error: BaseException) -> Cause:
    """What a failed `ray.get` means."""
    if isinstance(error, rex.RayTaskError):
        return _of_exception(getattr(error, "cause", None) or error)
    if isinstance(error, rex.RayActorError):
        return Cause(FailureKind.WORKER_DIED, "WorkerDied", _short(error), worker_lost=True)
    if isinstance(error, (rex.ObjectLostError, rex.ObjectStoreFullError)):
        return Cause(FailureKind.DATA_LOST, type(error).__name__, _short(error))
    return Cause(FailureKind.ERROR, type(error).__name__, _short(error))


def _of_exception(error: BaseException) -> Cause:
    if isinstance(error, rex.ObjectLostError):
        return Cause(FailureKind.DATA_LOST, type(error).__name__, _short(error))
    if isinstance(error, MediaError):
        return Cause(FailureKind.BAD_INPUT, type(error).__name__, _short(error))
    if isinstance(error, EvsError):
        return Cause(FailureKind.ERROR, type(error).__name__, _short(error))
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Cause(FailureKind.OUT_OF_MEMORY, type(error).__name__, _short(error))
    return Cause(FailureKind.ERROR, type(error).__name__, _short(error))


def _short(error: BaseException) -> str:
    """The end of a message: tracebacks end with their cause."""
    return str(error).strip()[-MAX_MESSAGE_CHARS:]
