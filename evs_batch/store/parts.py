"""A table that grows by Parquet files, few of them and none by half.

Each flush is a small part of its own. After 64 of them one part takes their place: it names those that it replaces,
and they do not count from the moment when it is there, whether they have been removed yet or not.
"""

import hashlib
import json
import time
import uuid
from dataclasses import dataclass, field
from io import BytesIO

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
    """URIs of the parts that count, oldest first."""
    found, replaced = _found(uri), _replaced(uri)
    return [storage.join(uri, name) for name in found if name not in replaced]


def tidy(uri: str) -> None:
    """Remove what a writer that was killed had replaced and not removed yet."""
    _remove(uri, sorted(_replaced(uri) & _found(uri).keys()))


def digest(uri: str) -> str:
    """Changes when a part comes, goes, or becomes another one."""
    return hashlib.blake2b(repr([*_found(uri).items()]).encode()).hexdigest()


def read(part: str, columns: list[str] | None = None) -> pa.Table:
    """The rows of a part; raises OutputError if it is damaged."""
    try:
        with storage.open_stored(part) as file:
            return pq.read_table(file, columns=columns)
    except pa.ArrowException as error:
        raise OutputError(part, f"is damaged ({error})", "delete it: its rows will be done again") from error


def rewrite(part: str, table: pa.Table) -> None:
    """Put other rows into a part; it goes if there are none."""
    if len(table):
        storage.write_bytes(parquet(table), part)
    else:
        storage.remove_file(part)


def parquet(table: pa.Table) -> bytes:
    """A table as a file."""
    buffer = BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _found(uri: str) -> dict[str, int]:
    """All files of the table with their bytes, in the order in which they were begun."""
    sizes = {name: size for name, size in storage.sizes(uri).items() if name.endswith(".parquet")}
    return {name: sizes[name] for name in sorted(sizes, key=lambda name: (name.rpartition("-")[0][-20:], name))}


def _replaced(uri: str) -> set[str]:
    large = (name for name in _found(uri) if name.startswith(_LARGE))
    return {name for part in large for name in _replaces(storage.join(uri, part))}


def _replaces(part: str) -> list[str]:
    try:
        with storage.open_stored(part) as file:
            metadata = pq.read_schema(file).metadata or {}
    except (pa.ArrowException, FileNotFoundError):
        return []  # whoever reads it will say that it is damaged
    return json.loads(metadata.get(REPLACES, b"[]"))


def _remove(uri: str, names: list[str]) -> None:
    for name in names:
        storage.remove_file(storage.join(uri, name))
