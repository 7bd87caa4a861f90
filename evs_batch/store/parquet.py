"""Parquet files, read in the thread that asks.

Arrow's own threads let go of what they have read after the reader is gone. At the end of a program such a thread asks
an interpreter for its lock which gives it to nobody any more, and the program, all done, aborts.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def opened(file: Any) -> pq.ParquetFile:
    """A file or the path of one; raises pyarrow.ArrowException where it isn't Parquet."""
    return pq.ParquetFile(file, pre_buffer=False)


def table(file: Any, columns: list[str] | None = None) -> pa.Table:
    """All rows, of those of the columns that there are."""
    with opened(file) as found:
        known = None if columns is None else [name for name in columns if name in found.schema_arrow.names]
        return found.read(known, use_threads=False)


def batches(file: pq.ParquetFile, rows: int) -> Iterator[pa.RecordBatch]:
    """All rows, at most so many at a time."""
    return file.iter_batches(rows, use_threads=False)


def written(rows: pa.Table) -> bytes:
    """A table as a file."""
    buffer = BytesIO()
    pq.write_table(rows, buffer)
    return buffer.getvalue()
