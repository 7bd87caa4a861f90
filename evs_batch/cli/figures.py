"""Figures of a command as a file, or on the standard output, where people's tables then make room."""

import json
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from evs_batch.spec.errors import RunError

STDOUT = Path("-")
WIDE = 240  # columns where no terminal says how many


def for_people(json_file: Path | None, **settings: Any) -> Console:
    """Where tables go: to the standard error if JSON goes to the standard output."""
    stream = sys.stderr if json_file == STDOUT else sys.stdout
    return Console(file=stream, highlight=False, **{"width": None if stream.isatty() else WIDE, **settings})


def show(name: str, rows: Sequence[dict[str, Any]], json_file: Path | None, **more: Any) -> None:
    """Print rows as a table; write them with machine and date, and more figures."""
    for_people(json_file).print(table_of(rows))
    if json_file:
        write_figures(name, rows, json_file, **more)


def table_of(rows: Sequence[dict[str, Any]]) -> Table:
    """Rows by their names, which not each of them has to have."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*names)
    for row in rows:
        table.add_row(*[_cell(row[name]) if name in row else "" for name in names])
    return table


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_cell(part) for part in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def writable(file: Path | None, *inputs: str) -> None:
    """A file that a command is to write must have a folder, and be none that it reads; raises RunError."""
    if file is None or file == STDOUT:
        return
    if not file.absolute().parent.is_dir():
        raise RunError(str(file), "has no folder to lie in", "make it, or name another file")
    from evs_batch.store import storage

    if any(storage.same(storage.absolute(path), str(file.absolute())) for path in inputs):
        raise RunError(str(file), "is what is read", "name another file")


def write_json(found: Any, file: Path) -> None:
    """Write one JSON value."""
    text = json.dumps(found, indent=1)
    if file == STDOUT:
        print(text)
    else:
        file.write_text(text)


def write_figures(name: str, rows: Sequence[dict[str, Any]], file: Path, **more: Any) -> None:
    """Write rows as JSON, with machine and date, and more figures beside them."""
    from evs_batch.runtime.memory import device_name

    torch = sys.modules.get("torch")
    versions = [f"torch {torch.__version__}"] if torch else []
    machine = ", ".join([f"{platform.machine()} {platform.system()}", device_name(), *versions])
    date = datetime.now(UTC).isoformat(timespec="seconds")
    write_json({"bench": name, "machine": machine, "date": date, **more, "rows": list(rows)}, file)
