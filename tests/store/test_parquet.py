"""Whoever reads a Parquet file, no thread but its own touches what Python has given it."""

import re
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import evs_batch
from evs_batch.store import parquet, parts, reading, storage

READS = re.compile(r"read_table|ParquetFile\(|pyarrow.dataset|ParquetDataset")
ROWS = pa.table({f"column{number}": [f"{row}" for row in range(5000)] for number in range(8)})


class Watched(BytesIO):
    """A file that knows which threads have read it, and which have let go of what they got."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.threads = set[int]()

    def read(self, *arguments: Any) -> bytes:
        touched = self.threads
        touched.add(threading.get_ident())

        class Lent(bytes):
            def __del__(self) -> None:
                touched.add(threading.get_ident())

        return Lent(super().read(*arguments))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    pq.write_table(ROWS, written := BytesIO(), row_group_size=700)
    file = Watched(written.getvalue())
    monkeypatch.setattr(storage, "open_stored", lambda _: file)
    return file


def test_a_table_is_read_by_the_thread_that_asks(watched: Watched):
    assert parquet.table(watched, ["column7", "no such column", "column0"]).column_names == ["column7", "column0"]
    assert watched.threads == {threading.get_ident()}


def test_parts_are_read_by_the_thread_that_asks(watched: Watched):
    assert parts.read("part.parquet").equals(ROWS)
    assert watched.threads == {threading.get_ident()}


def test_manifests_are_read_by_the_thread_that_asks(watched: Watched):
    schema, batches = reading.READERS[".parquet"](watched)
    assert schema.equals(ROWS.schema)
    assert [batch.num_rows for batch in batches] == [1024] * 4 + [904]
    assert watched.threads == {threading.get_ident()}


def test_nobody_else_reads_parquet():
    package = Path(evs_batch.__file__).parent
    own = {file.relative_to(package) for file in package.rglob("*.py") if READS.search(file.read_text())}
    assert own == {Path("store", "parquet.py")}


def test_a_file_on_disk_is_read_as_well(tmp_path: Path):
    (tmp_path / "rows.parquet").write_bytes(parquet.written(ROWS))
    assert parquet.table(tmp_path / "rows.parquet").equals(ROWS)
