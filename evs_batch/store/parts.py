"""A table that grows by Parquet files, few of them and none by half.

Each flush is a small part of its own. After 64 of them one part takes their place: it names those that it replaces,
and they do not count from the moment when it is there, whether they have been removed yet or not.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evs_batch.spec.errors import OutputError
from evs_batch.store import storage

SMALL_PARTS = 64
LARGE_ROWS = 50_000  # of a part that is not touched any more
REPLACES = b"evs.replaces"
_LARGE = "rows-"
_SMALL = "part-"


@dataclass
class Parts:
    """One writer's parts of the table in a folder."""

    uri: str
    _own: list[tuple[str, pa.Table]] = field(default_factory=list)

    def append(self, table: pa.Table) -> None:
        """Write rows; they are there when this returns."""
        self._own.append((self._write(_SMALL, table), table))
        if len(self._own) > SMALL_PARTS:
            self.merge()

    def merge(self) -> None:
        """Make one part of those that are still small."""
        if len(self._own) < 2:
            return
        names = [name for name, _ in self._own]
        table = pa.concat_tables([table for _, table in self._own])
        merged = self._write(_LARGE, table.replace_schema_metadata({REPLACES: json.dumps(names)}))
        _remove(self.uri, names)
        self._own = [(merged, table)] if len(table) < LARGE_ROWS else []

    def _write(self, kind: str, table: pa.Table) -> str:
        name = f"{kind}{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.parquet"
        storage.write_bytes(parquet(table), storage.join(self.uri, name))
        return name


def listed(uri: str) -> list[str]:
    """Paths of the parts that count, oldest first."""
    found, replaced = _found(uri), _replaced(uri)
    return [path for name, path in found.items() if name not in replaced]


def tidy(uri: str) -> None:
    """Remove what a writer that was killed had replaced and not removed yet."""
    found = _found(uri)
    _remove(uri, [name for name in _replaced(uri) if name in found])


def digest(uri: str) -> str:
    """Changes when a part comes, goes, or becomes another one."""
    fs, _ = storage.filesystem(uri)
    return hashlib.blake2b(repr([(name, fs.size(path)) for name, path in _found(uri).items()]).encode()).hexdigest()


def read(uri: str, path: str, columns: list[str] | None = None) -> pa.Table:
    """The rows of a part; raises OutputError if it is damaged."""
    fs, _ = storage.filesystem(uri)
    try:
        with fs.open(path, "rb") as file:
            return pq.read_table(file, columns=columns)
    except pa.ArrowException as error:
        raise OutputError(path, f"is damaged ({error})", "delete it: its rows will be done again") from error


def rewrite(uri: str, path: str, table: pa.Table) -> None:
    """Put other rows into a part; it goes if there are none."""
    fs, _ = storage.filesystem(uri)
    if len(table):
        storage.write_bytes(parquet(table), fs.unstrip_protocol(path))
    else:
        fs.rm_file(path)


def parquet(table: pa.Table) -> bytes:
    """A table as a file."""
    buffer = BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _found(uri: str) -> dict[str, str]:
    """All files of the table, by name, in the order in which they were begun."""
    fs, folder = storage.filesystem(uri)
    paths: list[Any] = fs.ls(folder, detail=False) if fs.isdir(folder) else []
    names = {path.rpartition("/")[2]: path for path in paths if path.endswith(".parquet")}
    return {name: names[name] for name in sorted(names, key=lambda name: (name.rpartition("-")[0][-20:], name))}


def _replaced(uri: str) -> set[str]:
    return {name for path in _large(uri) for name in _replaces(uri, path)}


def _large(uri: str) -> Iterator[str]:
    return (path for name, path in _found(uri).items() if name.startswith(_LARGE))


def _replaces(uri: str, path: str) -> list[str]:
    fs, _ = storage.filesystem(uri)
    try:
        with fs.open(path, "rb") as file:
            metadata = pq.read_schema(file).metadata or {}
    except (pa.ArrowException, FileNotFoundError):
        return []  # whoever reads it will say that it is damaged
    return json.loads(metadata.get(REPLACES, b"[]"))


def _remove(uri: str, names: list[str]) -> None:
    fs, folder = storage.filesystem(uri)
    for name in names:
        try:
            fs.rm_file(f"{folder}/{name}")
        except FileNotFoundError:
            continue
