"""A table that grows by Parquet files, few of them and none by half.

Each flush is a small part of its own. After 64 of them one part takes their place: it names those that it replaces,
and they do not count from the moment when it is there, whether they have been removed yet or not.
"""

import contextlib
import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from evs_batch.spec.errors import OutputError, StorageError
from evs_batch.store import parquet, storage

log = logging.getLogger(__name__)
SMALL_PARTS = 64
TURNS = 5
LARGE_ROWS = 50_000  # of a part that is not touched any more
REPLACES = b"evs.replaces"
_LARGE = "rows-"
_SMALL = "part-"
Found = TypeVar("Found")


@dataclass
class Parts:
    """One writer's parts of the table in a folder."""

    uri: str
    _own: list[tuple[str, pa.Table]] = field(default_factory=list)
    _next: str = field(default_factory=lambda: _name(_SMALL))

    def append(self, table: pa.Table) -> None:
        """Write rows; they are there when this returns.

        If it raises, nobody knows whether they are: what is appended next takes their place, and must hold them.
        """
        storage.write_bytes(parquet.written(table), storage.join(self.uri, self._next))
        self._own.append((self._next, table))
        self._next = _name(_SMALL)

    def compact(self) -> None:
        """Make one part of the small ones, if they are many."""
        if len(self._own) > SMALL_PARTS:
            self.merge()

    def merge(self) -> None:
        """Make one part of those that are still small."""
        if len(self._own) < 2:
            return
        names = [name for name, _ in self._own]
        table = pa.concat_tables([table for _, table in self._own])
        merged = _name(_LARGE)
        data = parquet.written(table.replace_schema_metadata({REPLACES: json.dumps(names)}))
        storage.write_bytes(data, storage.join(self.uri, merged))
        self._own = [(merged, table)] if len(table) < LARGE_ROWS else []
        _remove(self.uri, names)


def _name(kind: str) -> str:
    return f"{kind}{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.parquet"


def listed(uri: str) -> list[str]:
    """URIs of the parts that count, oldest first."""
    found = _found(uri)
    replaced = _replaced(uri, found)
    return [storage.join(uri, name) for name in found if name not in replaced]


def tidy(uri: str) -> None:
    """Remove what a writer that was killed had replaced and not removed yet."""
    found = _found(uri)
    _remove(uri, sorted(_replaced(uri, found) & found.keys()))


def read_all(uri: str, columns: list[str]) -> list[pa.Table]:
    """All rows of the table, of these columns, also while somebody makes one part of several."""
    return _of_each(uri, lambda part: read(part, columns))


def column_names(uri: str) -> list[str]:
    """The columns that any part has."""
    return list(dict.fromkeys(name for names in _of_each(uri, _column_names) for name in names))


def _column_names(part: str) -> list[str]:
    with _damage(part), storage.open_stored(part) as file:
        return pq.read_schema(file).names


def _of_each(uri: str, do: Callable[[str], Found]) -> list[Found]:
    """What is found in each part; once more where parts go meanwhile."""
    for turn in range(TURNS):
        try:
            return [do(part) for part in listed(uri)]
        except FileNotFoundError:
            if turn == TURNS - 1:
                raise
    return []


def digest(uri: str) -> str:
    """Changes when a part comes, goes, or becomes another one."""
    return hashlib.blake2b(repr([*_found(uri).items()]).encode()).hexdigest()


def read(part: str, columns: list[str] | None = None) -> pa.Table:
    """The rows of a part, and those of the columns that it has; raises OutputError if it is damaged."""
    with _damage(part), storage.open_stored(part) as file:
        return parquet.table(file, columns)


@contextlib.contextmanager
def _damage(part: str) -> Iterator[None]:
    try:
        yield
    except pa.ArrowException as error:
        raise OutputError(part, f"is damaged ({error})", "delete it: its rows will be done again") from error


def rewrite(part: str, table: pa.Table) -> None:
    """Put other rows into a part; it goes if there are none."""
    if len(table):
        storage.write_bytes(parquet.written(table), part)
    else:
        storage.remove_file(part)


def _found(uri: str) -> dict[str, int]:
    """All files of the table with their bytes, in the order in which they were begun."""
    sizes = {name: size for name, size in storage.sizes(uri).items() if name.endswith(".parquet")}
    return {name: sizes[name] for name in sorted(sizes, key=lambda name: (name.rpartition("-")[0][-20:], name))}


def _replaced(uri: str, found: Iterable[str]) -> set[str]:
    large = (name for name in found if name.startswith(_LARGE))
    return {name for part in large for name in _replaces(storage.join(uri, part))}


def _replaces(part: str) -> list[str]:
    try:
        with storage.open_stored(part) as file:
            metadata = pq.read_schema(file).metadata or {}
    except (pa.ArrowException, FileNotFoundError):
        return []  # whoever reads it will say that it is damaged
    return json.loads(metadata.get(REPLACES, b"[]"))


def _remove(uri: str, names: list[str]) -> None:
    """They do not count any more, so that it does no harm if some stay."""
    for name in names:
        try:
            storage.remove_file(storage.join(uri, name))
        except (OSError, StorageError) as error:
            log.warning("%s cannot be removed (%s)", name, error)
