"""Figures of a command as a file."""

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def write_figures(name: str, rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Write rows as JSON, with machine and date."""
    machine = f"{platform.machine()} {platform.system()}"
    date = datetime.now(UTC).isoformat(timespec="seconds")
    file.write_text(json.dumps({"bench": name, "machine": machine, "date": date, "rows": list(rows)}, indent=1))
