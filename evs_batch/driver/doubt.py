"""Rows that fail alike, one after the other: are they bad, or is everything?"""

from typing import Any

from evs_batch.spec.errors import RunError, StorageError
from evs_batch.spec.manifest import Row

ALIKE = 16
Settled = tuple[Row, dict[str, Any]]


class Doubt:
    """Holds failed rows back as long as it may be not them but what all rows share.

    That is so until the first row has succeeded, and whenever a storage refuses. After 16 of them with one cause,
    nothing between them, the run ends, and they are not committed: the same command does them again.
    """

    def __init__(self, *, ends_run: bool) -> None:
        self._ends_run, self._proven, self._held = ends_run, False, list[Settled]()

    def settle(self, row: Row, result: dict[str, Any]) -> list[Settled]:
        """Take a finished row; gives those that can be committed now. Raises RunError."""
        failed = result["status"] == "failed"
        self._proven |= not failed
        doubtful = failed and (not self._proven or result["error_type"] == StorageError.__name__)
        if not (self._ends_run and doubtful):
            return [*self.release(), (row, result)]
        before = self.release() if self._held and _cause(self._held[-1][1]) != _cause(result) else []
        self._held.append((row, result))
        if len(self._held) >= ALIKE:
            self._held.clear()
            raise RunError(
                f"{ALIKE} rows",
                f"failed one after the other in {result['error_stage']}, the last with {result['error_message']}",
                "mend the cause and run the same command again: they are not committed; if it is them, "
                "--max-failed-fraction 1 lets every row fail",
            )
        return before

    def release(self) -> list[Settled]:
        """All that is held."""
        held, self._held = self._held, []
        return held


def _cause(result: dict[str, Any]) -> tuple[str, str]:
    return result["error_type"], result["error_stage"]
