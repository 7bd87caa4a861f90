"""Figures of a command as a file."""

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evs_batch.spec.errors import RunError


def writable(file: Path | None, *inputs: str) -> None:
    """A file that a command is to write must have a folder, and be none that it reads; raises RunError."""
    if file is None:
        return
    if not file.absolute().parent.is_dir():
        raise RunError(str(file), "has no folder to lie in", "make it, or name another file")
    from evs_batch.store import storage

    if any(storage.same(storage.absolute(path), str(file.absolute())) for path in inputs):
        raise RunError(str(file), "is what is read", "name another file")


def write_figures(name: str, rows: Sequence[dict[str, Any]], file: Path, **more: Any) -> None:
    """Write rows as JSON, with machine and date, and more figures beside them."""
    machine = f"{platform.machine()} {platform.system()}"
    date = datetime.now(UTC).isoformat(timespec="seconds")
    file.write_text(json.dumps({"bench": name, "machine": machine, "date": date, **more, "rows": list(rows)}, indent=1))
