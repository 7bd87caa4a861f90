"""What is wrong with a manifest, row by row, and a copy of it without that."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evs_batch.spec.errors import ManifestError
from evs_batch.spec.manifest import OPTIONAL_COLUMNS, Row, misspelt, read_row
from evs_batch.store import reading, storage

Cells = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A bad row, numbered from 0; a copy has it without the cells `left_out`, or not at all if there are none."""

    number: int
    error: ManifestError
    left_out: tuple[str, ...]

    @property
    def mended(self) -> str:
        """What a copy does about it."""
        return f"{', '.join(self.left_out)} left out" if self.left_out else "row left out"


@dataclass
class Check:
    """One pass over a manifest; `rows` and `faults` count what has been seen, `unused` are misspelt columns."""

    uri: str
    copy: str | None = None
    rows: int = 0
    faults: int = 0
    unused: tuple[tuple[str, str], ...] = ()

    def __iter__(self) -> Iterator[Fault]:
        """Every fault. The copy is there when all of them have been taken; raises ManifestError and StorageError."""
        found, seen = reading.each(reading.located(self.uri)), dict[str, int]()
        self.unused = tuple(misspelt(found.schema.names))
        with ExitStack() as opened:
            write = _writer(opened, self.copy, found) if self.copy else None
            for row in found.rows:
                self.rows += 1
                fault = _fault(row, seen, found.columns)
                seen.setdefault(row.id, row.number)
                if fault:
                    self.faults += 1
                    yield fault
                if write and (not fault or fault.left_out):
                    write({**row.cells, **dict.fromkeys(fault.left_out if fault else ())})


def _fault(row: Row, seen: Mapping[str, int], columns: Mapping[str, str]) -> Fault | None:
    if row.error:
        return Fault(number=row.number, error=row.error, left_out=_bad_cells(row.cells, columns))
    if row.id not in seen:
        return None
    error = ManifestError(f"id={row.id!r}", f"is used by row {seen[row.id]} and row {row.number}", "make ids unique")
    return Fault(number=row.number, error=error, left_out=("id",))


def _bad_cells(cells: Cells, columns: Mapping[str, str]) -> tuple[str, ...]:
    """Optional cells without which a row is good; none if nothing helps."""
    required = {name: cells.get(name) for name in columns.values()}
    if read_row(0, required, columns, 0).error:
        return ()
    optional = [name for name in OPTIONAL_COLUMNS if name in cells]
    return tuple(name for name in optional if read_row(0, {**required, name: cells[name]}, columns, 0).error)


def _writer(opened: ExitStack, copy: str, of: reading.Unchecked) -> Callable[[Cells], None]:
    """A function that takes rows for a Parquet file, which appears when all of it is there, with absolute URIs."""
    uri, folder = of.columns["uri"], storage.parent(of.files[0])
    schema = of.schema.set(of.schema.get_field_index(uri), pa.field(uri, pa.string()))
    schema = pa.schema([field.with_nullable(True) for field in schema])
    file = opened.enter_context(storage.created(storage.absolute(copy)))
    writer = opened.enter_context(pq.ParquetWriter(file, schema))
    batch = list[Cells]()

    def flush() -> None:
        if batch:
            writer.write_table(pa.Table.from_pylist(batch, schema))
            batch.clear()

    def write(cells: Cells) -> None:
        batch.append({**cells, uri: storage.resolve(cells[uri], folder)})
        if len(batch) >= reading.BATCH_ROWS:
            flush()

    opened.callback(flush)
    return write
