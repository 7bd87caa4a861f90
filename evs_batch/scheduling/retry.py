"""The retry policy: what happens after a call has failed.

| the call                            | then                                                                  |
|-------------------------------------|-----------------------------------------------------------------------|
| lost data with its node             | its clips start again from their source files; counts as an attempt   |
| had several clips                   | each half is tried alone, until the guilty clip is; free of charge    |
| had one clip that cannot be read    | the clip fails                                                        |
| had one clip, attempts left         | it is tried again, alone                                              |
| had one clip, no attempts left      | the clip fails                                                        |

When a worker dies, its oldest call is the suspect and is treated as failed; its other calls go back free of charge.
"""

from dataclasses import dataclass
from typing import Literal

from evs_batch.scheduling.events import FailureKind

HOPELESS = (FailureKind.BAD_INPUT, FailureKind.TOO_LARGE)


@dataclass(frozen=True)
class Decision:
    """What to do with the clips of a failed call, and why."""

    action: Literal["split", "retry", "restart", "fail"]
    reason: str


def decide(kind: FailureKind, clips: int, attempts: int, max_attempts: int) -> Decision:
    """The table above; `attempts` is the largest of the clips' attempts so far."""
    if kind is FailureKind.DATA_LOST and attempts < max_attempts:
        return Decision("restart", f"{kind}: start again from the source ({attempts} of {max_attempts} attempts)")
    if clips > 1:
        return Decision("split", f"{kind}: halve a call of {clips} clips to find the guilty one")
    if kind in HOPELESS:
        return Decision("fail", f"{kind}: trying again cannot help")
    if attempts < max_attempts:
        return Decision("retry", f"{kind}: try again alone ({attempts} of {max_attempts} attempts)")
    return Decision("fail", f"{kind}: all {max_attempts} attempts are spent")
