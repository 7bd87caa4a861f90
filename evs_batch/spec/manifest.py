"""Manifest columns, in and out, and the rules for a row."""

import difflib
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from evs_batch.spec.errors import ManifestError
from evs_batch.spec.work import Clip

REQUIRED = {
    "uri": ("url", "video_path", "path", "file_name"),
    "prompt": ("caption", "text"),
}

OPTIONAL_COLUMNS = ("id", "negative_prompt", "seed", "strength")

OUTPUT_COLUMNS = {
    "id": "string",
    "output_uri": "string",
    "status": "string",
    "error_type": "string",
    "error_stage": "string",
    "error_message": "string",
    "attempts": "int32",
    "num_frames": "int64",
    "width": "int32",
    "height": "int32",
    "fps": "float64",
    "duration_s": "float64",
    "output_bytes": "int64",
    "output_sha256": "string",
    "output_warnings": "string",
    "t2i_seconds": "float64",
    "t2v_seconds": "float64",
    "recipe_fingerprint": "string",
    "evs_version": "string",
}

NEARLY = 0.8  # of 1: how alike two names are
_LONG = ("negative_prompt", "strength")
MAX_TEXT_CHARS = 10_000
MAX_SEED_DIGITS = 20
_SAFE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One input row: its number (from 0), its cells, and the clip that it asks for or what is wrong with it."""

    number: int
    id: str
    cells: Mapping[str, Any]
    clip: Clip | None
    error: ManifestError | None = None


def resolve_columns(names: Iterable[str]) -> dict[str, str]:
    """Which column of a manifest serves as `uri` and which as `prompt`; raises ManifestError if one is missing."""
    present = set(names)
    chosen = {}
    for column, aliases in REQUIRED.items():
        found = [name for name in (column, *aliases) if name in present]
        if not found:
            raise ManifestError(
                f"columns {sorted(present)}",
                f"one column must be called '{column}' (or {', '.join(aliases)})",
                f"rename or add the column that holds the {column}",
            )
        chosen[column] = found[0]
    return chosen


def misspelt(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Columns that are passed through unused although they are nearly called as an optional one, and that one."""
    for name in (name for name in names if name not in OPTIONAL_COLUMNS and name not in OUTPUT_COLUMNS):
        plain = name.lower().strip("_ ")
        if plain.rstrip("s") == "seed":  # shorter than what is alike by chance: speed, need, send
            yield name, "seed"
        yield from ((name, known) for known in difflib.get_close_matches(plain, _LONG, n=1, cutoff=NEARLY))


def read_row(number: int, cells: Mapping[str, Any], columns: Mapping[str, str], seed: int, repeat: int = 0) -> Row:
    """Check one row. `seed` is the recipe's; `repeat` counts earlier rows with the very same cells."""
    row_id = cells.get("id")
    try:
        row_id = _row_id(row_id, cells, repeat)
        clip = Clip(
            id=row_id,
            uri=_text(cells.get(columns["uri"]), columns["uri"]),
            prompt=_text(cells.get(columns["prompt"]), columns["prompt"]),
            negative_prompt=_text(cells.get("negative_prompt") or "", "negative_prompt", empty=True),
            seed=_seed(cells.get("seed"), seed),
            strength=_strength(cells.get("strength")),
            number=number,
        )
        return Row(number=number, id=row_id, cells=cells, clip=clip)
    except ManifestError as error:
        safe_id = row_id if isinstance(row_id, str) and is_safe_id(row_id) else default_id(cells, repeat)
        return Row(number=number, id=safe_id, cells=cells, clip=None, error=error)


def default_id(cells: Mapping[str, Any], repeat: int = 0) -> str:
    """A stable id for a row that has none; equal rows are told apart by a count."""
    inputs = {name: value for name, value in cells.items() if name not in OUTPUT_COLUMNS}
    digest = hashlib.blake2b(json.dumps(inputs, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()
    return f"{digest}-{repeat + 1}" if repeat else digest


def is_safe_id(text: str) -> bool:
    """Whether an id can be a file name everywhere."""
    return _SAFE_ID.fullmatch(text) is not None


def _row_id(value: Any, cells: Mapping[str, Any], repeat: int) -> str:
    if value is None:
        return default_id(cells, repeat)
    if not is_safe_id(str(value)):
        raise ManifestError(
            f"id={str(value)[:80]!r}",
            "must be 1 to 200 letters, digits, '.', '_' or '-' and not begin with '.' or '-'",
            "change it or leave it out",
        )
    return str(value)


def _text(value: Any, column: str, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (empty or value.strip()):
        raise ManifestError(f"{column}={str(value)[:80]!r}", "must be a non-empty text", "fill it in")
    if len(value) > MAX_TEXT_CHARS:
        raise ManifestError(f"{column} of {len(value)} characters", f"must have at most {MAX_TEXT_CHARS}", "shorten it")
    if "\0" in value:
        raise ManifestError(f"{column}={value[:80]!r}", "must not contain NUL characters", "remove them")
    return value


def _seed(value: Any, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < MAX_SEED_DIGITS:
        value = int(value)  # a cell of a CSV file
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # an integer column with nulls
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ManifestError(f"seed={value!r}", "must be a whole number from 0 to 2^63 - 1", "change it or leave it out")
    return value


def _strength(value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)  # a cell of a CSV file is a text
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number <= 1 or isinstance(value, bool):
        raise ManifestError(
            f"strength={str(value)[:80]!r}", "must be above 0 and at most 1", "change it or leave it out"
        )
    return number
