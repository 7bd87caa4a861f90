"""Ray's errors as the failure kinds of the scheduler."""

from dataclasses import dataclass

from ray import exceptions as rex

from evs_batch.scheduling.events import FailureKind
from evs_batch.spec.errors import MediaError, RecipeError, masked, printable

MAX_MESSAGE_CHARS = 1000
DATA_ERRORS = (rex.ObjectLostError, rex.ObjectStoreFullError, rex.OutOfDiskError)


@dataclass(frozen=True)
class Cause:
    """A failed call in the scheduler's terms; `worker_lost` when its process is gone."""

    kind: FailureKind
    type: str
    message: str
    worker_lost: bool = False

    @property
    def lasting(self) -> bool:
        """Whether another worker would fail in the same way: the input is to blame, or the recipe."""
        return self.kind is FailureKind.BAD_INPUT


def classify(error: BaseException) -> Cause:
    """What a failed `ray.get` means: unless the call itself failed or its data are gone, the worker is."""
    if isinstance(error, rex.RayTaskError):
        return _of_exception(getattr(error, "cause", None) or error)
    if isinstance(error, DATA_ERRORS):
        return Cause(FailureKind.DATA_LOST, type(error).__name__, _short(error))
    return Cause(FailureKind.WORKER_DIED, "WorkerDied", _short(error), worker_lost=True)


def _of_exception(error: BaseException) -> Cause:
    kind = FailureKind.ERROR
    if isinstance(error, DATA_ERRORS):
        kind = FailureKind.DATA_LOST
    elif isinstance(error, (MediaError, RecipeError)):
        kind = FailureKind.BAD_INPUT
    elif out_of_memory(error):
        kind = FailureKind.OUT_OF_MEMORY
    return Cause(kind, type(error).__name__, _short(error))


def out_of_memory(error: BaseException) -> bool:
    """Whether the host's memory or a GPU's has run out; torch need not be there to know its errors."""
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _short(error: BaseException) -> str:
    """The end of a message: tracebacks end with their cause."""
    return printable(masked(str(error)).strip()[-MAX_MESSAGE_CHARS:])
