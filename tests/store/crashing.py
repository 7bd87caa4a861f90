"""A driver that is killed at a step of its commits, before or after it; run as a program, which forks one for each.

Prints a line for every step: what was left behind, and how the folder is after the same driver has run again.
"""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evs_batch.store import ledger, parts, storage

ROWS = [f"clip{number}" for number in range(5)]
STEPS = ("replace", "unlink", "remove", "fsync", "mkdir")  # of the operating system, by which files come and go


def drive(folder: Path) -> None:
    """Publish and commit what is not committed yet, as a run does."""
    uri, source = str(folder / "out"), folder / "video"
    parts.SMALL_PARTS = 2
    source.write_bytes(b"a video")
    with ledger.exclusive(uri, (1, 1)):
        book = ledger.open_ledger(uri, {"recipe": "identity"}, [])
        ledger.tidy(uri, (1, 1))
        done = {row["id"] for row in ledger.committed(uri, ["id"])}
        for name in ROWS:
            if name not in done:
                storage.publish(source, storage.join(uri, "videos", f"{name}.mp4"))
                book.commit({"id": name, "status": "success"})
                book.flush(force=True)
        book.close()
        ledger.write_done(uri, (1, 1), "key", {"rows": len(ROWS)})


def state(folder: Path) -> dict[str, Any]:
    """What a reader of the folder finds."""
    uri = str(folder / "out")
    rows = Counter(row["id"] for row in ledger.committed(uri, ["id"]))
    videos = sorted((folder / "out" / "videos").glob("*.mp4"))
    files = {path.relative_to(folder / "out").parts[0] for path in (folder / "out").rglob("*") if path.is_file()}
    return {
        "rows": rows,
        "videos": [path.stem for path in videos if path.read_bytes() == b"a video"],
        "half": [path.name for path in (folder / "out").rglob("*.partial")],
        "left": ledger.leftovers(uri),
        "files": sorted(files),
    }


def killed_at(step: int) -> None:
    """From now on count steps, each twice, and be killed at this one."""
    count = 0

    def reach() -> None:
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(do: Callable[..., Any]) -> Callable[..., Any]:
        def done(*args: Any, **kwargs: Any) -> Any:
            reach()
            result = do(*args, **kwargs)
            reach()
            return result

        return done

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def forked(do: Callable[[], None]) -> int:
    """Do something in a process of its own; gives its status."""
    pid = os.fork()
    if pid == 0:
        do()
        sys.stdout.flush()
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def main(base: Path) -> None:
    """Step by step, until a driver gets through."""
    for step in range(1, 1000):
        folder = base / str(step)
        folder.mkdir()

        def dying(folder: Path = folder, step: int = step) -> None:
            killed_at(step)
            drive(folder)

        def report(folder: Path = folder, step: int = step) -> None:
            before = state(folder)
            drive(folder)
            print(json.dumps({"step": step, "before": before, "after": state(folder)}))

        survived = forked(dying) == 0
        assert forked(report) == 0, f"the driver after step {step}"
        if survived:
            return
    raise AssertionError("no end of steps")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
