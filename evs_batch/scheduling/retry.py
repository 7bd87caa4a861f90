"""The retry policy: what happens after a call has failed.

| the call                            | then                                                                  |
|-------------------------------------|-----------------------------------------------------------------------|
| had several clips                   | each half is tried alone, until the guilty clip is; free of charge    |
| had one clip, lost with its node    | the clip starts again from its source; free of charge, twenty times   |
| had one clip that cannot be read    | the clip fails                                                        |
| had one clip, attempts left         | it is tried again, alone                                              |
| had one clip, no attempts left      | the clip fails                                                        |

A call that hangs (`watch.py`) fails with its worker, which is ended. When a worker dies that had one call, the call has
failed; when it had several, any of them may have done it: each is tried again alone on a worker, free of charge.
"""

from dataclasses import dataclass
from typing import Literal

from evs_batch.scheduling.events import FailureKind

HOPELESS = (FailureKind.BAD_INPUT, FailureKind.TOO_LARGE)
MAX_LOSSES = 20  # nodes come and go; a clip whose data is lost for ever has another cause


@dataclass(frozen=True)
class Decision:
    """What to do with the clips of a failed call, and why."""

    action: Literal["split", "retry", "restart", "fail"]
    reason: str


def decide(kind: FailureKind, clips: int, attempts: int, max_attempts: int, losses: int = 0) -> Decision:
    """The table above; of the clips' attempts and losses so far, the largest."""
    if clips > 1:
        return Decision("split", f"{kind}: halve a call of {clips} clips to find the guilty one")
    if kind is FailureKind.DATA_LOST and losses < MAX_LOSSES:
        return Decision("restart", f"{kind}: start again from the source (loss {losses + 1} of {MAX_LOSSES})")
    if kind in HOPELESS:
        return Decision("fail", f"{kind}: trying again cannot help")
    if attempts < max_attempts:
        return Decision("retry", f"{kind}: try again alone ({attempts} of {max_attempts} attempts)")
    return Decision("fail", f"{kind}: all {max_attempts} attempts are spent")
