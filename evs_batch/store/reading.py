"""Input manifests: Parquet, CSV, JSONL, or a folder of Parquet files, streamed in batches of rows."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from evs_batch.spec.errors import EvsError, ManifestError
from evs_batch.spec.manifest import OUTPUT_COLUMNS, Row, default_id, read_row, resolve_columns
from evs_batch.store import storage

BATCH_ROWS = 1024


def _read_parquet(file: Any) -> Iterator[pa.RecordBatch]:
    yield from pq.ParquetFile(file).iter_batches(BATCH_ROWS)


def _read_csv(file: Any) -> Iterator[pa.RecordBatch]:
    text = pyarrow.csv.ConvertOptions(column_types={"id": pa.string()}, strings_can_be_null=True)
    newlines = pyarrow.csv.ParseOptions(newlines_in_values=True)
    yield from pyarrow.csv.open_csv(file, convert_options=text, parse_options=newlines)


def _read_jsonl(file: Any) -> Iterator[pa.RecordBatch]:
    yield from pyarrow.json.read_json(file).to_batches(BATCH_ROWS)


READERS: Mapping[str, Callable[[Any], Iterator[pa.RecordBatch]]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
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
    uri = storage.absolute(uri)
    files = _files(uri)
    try:
        schema = next(_batches(files[0])).schema
        columns = resolve_columns(schema.names)
        digest, seen = hashlib.blake2b(digest_size=8), {}
        for row in _rows(files, columns, seed):
            digest.update(json.dumps([row.id, dict(row.cells)], sort_keys=True, default=str).encode())
            if row.id in seen:
                raise ManifestError(
                    f"id={row.id!r}", f"is used by row {seen[row.id]} and row {row.number}", "make ids unique"
                )
            seen[row.id] = row.number
    except StopIteration:
        raise ManifestError(uri, "has no rows", "check how it was written") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ManifestError(uri, f"cannot be read ({error})", "check the file") from error
    return Manifest(
        uri=uri, files=files, schema=schema, columns=columns, seed=seed, rows=len(seen), fingerprint=digest.hexdigest()
    )


def _files(uri: str) -> tuple[str, ...]:
    fs, path = storage.filesystem(uri)
    if fs.isdir(path):
        found = tuple(sorted(fs.unstrip_protocol(p) for p in fs.glob(storage.join(path, "*.parquet"))))
        if not found:
            raise ManifestError(uri, "is a folder without Parquet files", "name a file, or a folder that has some")
        return tuple(name.removeprefix("file://") for name in found)
    if not fs.exists(path):
        raise ManifestError(uri, "does not exist", "check the path")
    return (uri,)


def _batches(uri: str) -> Iterator[pa.RecordBatch]:
    suffix = next((suffix for suffix in READERS if uri.lower().endswith(suffix)), None)
    if suffix is None:
        raise ManifestError(uri, "is of an unknown kind", f"use one of {', '.join(READERS)}")
    fs, path = storage.filesystem(uri)
    with fs.open(path, "rb") as file:
        yield from (batch for batch in READERS[suffix](file) if batch.num_rows)


def _rows(files: tuple[str, ...], columns: Mapping[str, str], seed: int) -> Iterator[Row]:
    number, repeats = 0, Counter()
    for file in files:
        for batch in _batches(file):
            for cells in batch.to_pylist():
                key = default_id(cells) if cells.get("id") is None else None
                yield read_row(number, cells, columns, seed, repeats[key] if key else 0)
                repeats.update([key] if key else [])
                number += 1


def passed_through(schema: pa.Schema) -> list[pa.Field]:
    """The columns of an input manifest that go to the output untouched."""
    return [field for field in schema if field.name not in OUTPUT_COLUMNS]


def problems(manifest: Manifest) -> Iterator[tuple[int, EvsError]]:
    """Every bad row with its number, from 0."""
    for row in manifest:
        if row.error:
            yield row.number, row.error
