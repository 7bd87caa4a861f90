"""Input manifests: Parquet, CSV, JSONL, a config of the EVS release, or a folder of Parquet files; rows in batches."""

import contextlib
import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from evs_batch.spec import release
from evs_batch.spec.errors import ManifestError, StorageError
from evs_batch.spec.manifest import OUTPUT_COLUMNS, Row, default_id, is_safe_id, read_row, resolve_columns
from evs_batch.store import parquet, storage

_PACKAGE = Path(__file__).parents[1]
MANIFESTS = next((p for p in (_PACKAGE / "manifests", _PACKAGE.parent / "manifests") if p.is_dir()), _PACKAGE)
BATCH_ROWS = 1024
UNREADABLE = (
    OSError,
    ValueError,
    OverflowError,
    ImportError,
    RecursionError,
    StorageError,
    csv.Error,
    pa.ArrowException,
)
csv.field_size_limit(1 << 24)

Read = tuple[pa.Schema, Iterator[pa.RecordBatch]]


def _read_parquet(file: Any) -> Read:
    found = parquet.opened(file)
    return found.schema_arrow, parquet.batches(found, BATCH_ROWS)


def _read_csv(file: Any) -> Read:
    """Every cell is a text, so that nothing is changed on its way; an empty one is null."""
    rows = csv.reader(io.TextIOWrapper(file, "utf-8-sig", newline=""), strict=True)
    names = next(rows, [])
    cells = [[cell or None for cell in row] for row in rows if row]
    for number, row in enumerate(cells):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} cells under {len(names)} names")
    columns = [pa.array(column, pa.string()) for column in zip(*cells, strict=True)]
    table = pa.table(columns or [pa.array([], pa.string())] * len(names), names=names)
    return table.schema, iter(table.to_batches(BATCH_ROWS))


def _read_jsonl(file: Any) -> Read:
    rows = [json.loads(line) for line in io.TextIOWrapper(file, "utf-8-sig") if line.strip()]
    wrong = next((number for number, row in enumerate(rows) if not isinstance(row, dict)), None)
    if wrong is not None:
        raise ValueError(f"row {wrong} is not a JSON object")
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
    return table.schema, iter(table.to_batches(BATCH_ROWS))


def _read_release(file: Any) -> Read:
    table = pa.Table.from_pylist(release.read_rows(file.read()))
    return table.schema, iter(table.to_batches(BATCH_ROWS))


READERS: Mapping[str, Callable[[Any], Read]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    release.SUFFIX: _read_release,
}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """An input manifest that passed its checks as a whole; its rows are read anew at every pass."""

    uri: str
    files: tuple[str, ...]
    schema: pa.Schema
    columns: Mapping[str, str]
    seed: int
    rows: int
    fingerprint: str

    @property
    def folder(self) -> str:
        """Relative paths of the manifest start here."""
        return storage.parent(self.files[0])

    def __iter__(self) -> Iterator[Row]:
        """All rows, with absolute URIs in their clips."""
        for row in _rows(self.files, self.columns, self.seed):
            clip = row.clip and replace(row.clip, uri=storage.resolve(row.clip.uri, self.folder))
            yield replace(row, clip=clip)


def open_manifest(uri: str, seed: int) -> Manifest:
    """Check a manifest as a whole (columns, unique ids) and fingerprint it; `seed` is the recipe's default.

    Raises ManifestError. Single bad rows raise nothing: they carry their error.
    """
    uri = located(uri)
    files, schema = table(uri)
    columns = resolve_columns(schema.names)
    with explained(uri):
        rows, fingerprint = _fingerprint(_rows(files, columns, seed))
    if not rows:
        raise ManifestError(uri, "has no rows", "check how it was written")
    return Manifest(uri=uri, files=files, schema=schema, columns=columns, seed=seed, rows=rows, fingerprint=fingerprint)


def located(uri: str) -> str:
    """Where a manifest is: a ready one goes by its name, as `demo`, all others by path or URI."""
    if uri in ready_manifests() and not Path(uri).exists():
        return str(MANIFESTS / f"{uri}.parquet")
    return storage.absolute(uri)


def ready_manifests() -> list[str]:
    """Manifests that come with the package."""
    return sorted(path.stem for path in MANIFESTS.glob("*.parquet"))


def table(uri: str) -> tuple[tuple[str, ...], pa.Schema]:
    """The files of a table and the columns of them all; raises ManifestError."""
    with explained(uri):
        files = _files(uri)
        return files, pa.unify_schemas([_schema(file) for file in files], promote_options="permissive")


def cells(files: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of the files of a table, as they are; raises OSError, ValueError, … of `UNREADABLE`."""
    for uri in files:
        with storage.open_stored(uri) as file:
            for batch in _read(uri, file)[1]:
                yield from batch.to_pylist()


@contextlib.contextmanager
def explained(uri: str) -> Iterator[None]:
    """Whatever is wrong with a file, as a ManifestError."""
    try:
        yield
    except FileNotFoundError as error:
        raise ManifestError(uri, "does not exist", "check the path") from error
    except UNREADABLE as error:
        raise ManifestError(uri, f"cannot be read ({error})", "check the file") from error


def digest(uri: str) -> str:
    """Of the bytes of a manifest: it takes a second for a million rows, and equal bytes are equal rows."""
    found = hashlib.blake2b()
    with explained(uri):
        for name in _files(located(uri)):
            with storage.open_stored(name) as file:
                found.update(hashlib.file_digest(file, "blake2b").digest())
    return found.hexdigest()


def passed_through(schema: pa.Schema) -> list[pa.Field]:
    """The columns of an input manifest that go to the output untouched."""
    return [field.with_nullable(True) for field in schema if field.name not in OUTPUT_COLUMNS]


@dataclass(frozen=True, kw_only=True)
class Unchecked:
    """A manifest whose rows may be of any kind; their URIs are as they stand."""

    files: tuple[str, ...]
    schema: pa.Schema
    columns: Mapping[str, str]
    rows: Iterator[Row]


def each(uri: str) -> Unchecked:
    """A manifest with all of its rows, also where ids are used twice; raises ManifestError."""
    files, schema = table(uri)
    columns = resolve_columns(schema.names)

    def rows() -> Iterator[Row]:
        with explained(uri):
            yield from _rows(files, columns, seed=0)

    return Unchecked(files=files, schema=schema, columns=columns, rows=rows())


def _files(uri: str) -> tuple[str, ...]:
    if not storage.is_folder(uri):
        return (uri,)
    found = sorted(name for name in storage.names(uri) if name.endswith(".parquet"))
    if not found:
        raise ManifestError(uri, "is a folder without Parquet files", "name a file, or a folder that has some")
    return tuple(storage.join(uri, name) for name in found)


def _read(uri: str, file: Any) -> Read:
    suffix = next((suffix for suffix in READERS if uri.lower().endswith(suffix)), None)
    if suffix is None:
        raise ManifestError(uri, "is of an unknown kind", f"use one of {', '.join(READERS)}")
    return READERS[suffix](file)


def _schema(uri: str) -> pa.Schema:
    with storage.open_stored(uri) as file:
        schema = _read(uri, file)[0]
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise ManifestError(uri, f"has several columns called '{twice[0]}'", "rename all but one")
    return schema


def _rows(files: tuple[str, ...], columns: Mapping[str, str], seed: int) -> Iterator[Row]:
    repeats = Counter()
    for number, row in enumerate(cells(files)):
        given = row.get("id")
        key = None if given is not None and is_safe_id(str(given)) else default_id(row)
        yield read_row(number, row, columns, seed, repeats[key] if key else 0)
        repeats.update([key] if key else [])


def _fingerprint(rows: Iterator[Row]) -> tuple[int, str]:
    """How many rows there are, and a hash of them all; raises ManifestError if an id is used twice."""
    digest, seen = hashlib.blake2b(digest_size=8), {}
    for row in rows:
        digest.update(json.dumps([row.id, dict(row.cells)], sort_keys=True, default=str).encode())
        if row.id in seen:
            raise ManifestError(
                f"id={row.id!r}", f"is used by row {seen[row.id]} and row {row.number}", "make ids unique"
            )
        seen[row.id] = row.number
    return len(seen), digest.hexdigest()
