"""OUTPUT/quality/metrics.parquet: a row for each row of the output manifest, in its order.

The file is always written whole. It says in its metadata how it was measured; rows of another way are not kept.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.compute

from evs_batch.quality.choice import SOURCE, Choice
from evs_batch.spec.errors import OutputError
from evs_batch.store import parquet, storage

pc: Any = pyarrow.compute  # its functions are made when it is imported, unseen by type checkers

MEASURED = b"evs_batch.measured"
ROWS_PER_CHUNK = 1024


@dataclass
class Table:
    """Rows that are measured: those of an earlier evaluation that still hold, and new ones, which replace them."""

    uri: str
    ids: pa.Array
    schema: pa.Schema
    _earlier: pa.Table
    _chunks: list[pa.Table] = field(default_factory=list)
    _pending: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a measured row; what it lacks is null."""
        self._pending.append({name: row.get(name) for name in self.schema.names})
        if len(self._pending) >= ROWS_PER_CHUNK:
            self._chunk()

    def holds(self) -> dict[str, str]:
        """Rows of an earlier evaluation that need not be measured again: SHA-256 of the result, by id."""
        good = pc.and_(pc.is_null(self._earlier["error"]), pc.is_valid(self._earlier["output_sha256"]))
        measured = self._earlier.filter(good)
        return dict(zip(measured["id"].to_pylist(), measured["output_sha256"].to_pylist(), strict=True))

    def rows(self) -> pa.Table:
        """All of them, in the order of the manifest."""
        self._chunk()
        new = pa.concat_tables([self.schema.empty_table(), *self._chunks])
        kept = self._earlier.filter(pc.invert(pc.is_in(self._earlier["id"], new["id"].combine_chunks())))
        every = pa.concat_tables([kept, new])
        return every.take(pc.sort_indices(pc.index_in(every["id"], self.ids)))

    def save(self) -> None:
        """Put the file in place if there is a new row."""
        if not self._chunks and not self._pending:
            return
        try:
            storage.write_bytes(parquet.written(self.rows()), self.uri)
        except OSError as error:
            raise OutputError(self.uri, f"cannot be written ({error})", "check your rights and the disk") from error

    def _chunk(self) -> None:
        if self._pending:
            self._chunks.append(pa.Table.from_pylist(self._pending, self.schema))
            self._pending.clear()


def open_table(output: str, ids: pa.Array, choice: Choice) -> Table:
    """The table of an output folder whose manifest has these ids."""
    uri = storage.join(output, "quality", "metrics.parquet")
    schema = _schema(choice)
    earlier = _read(uri, schema)
    return Table(uri, ids, schema, earlier.filter(pc.is_in(earlier["id"], ids)))


def _schema(choice: Choice) -> pa.Schema:
    texts = [pa.field(name, pa.string()) for name in ("id", "output_uri", "output_sha256")]
    columns = [prefix + name for name in choice.metrics for prefix in ("", SOURCE)]
    numbers = [pa.field(name, pa.float64()) for name in columns]
    identity = json.dumps(choice.identity(), sort_keys=True).encode()
    return pa.schema([*texts, *numbers, pa.field("error", pa.string())], {MEASURED: identity})


def _read(uri: str, schema: pa.Schema) -> pa.Table:
    """The file that is there, if its rows were measured in the same way."""
    data = storage.read_bytes(uri)
    if data is None:
        return schema.empty_table()
    try:
        table = parquet.table(BytesIO(data))
    except pa.ArrowException as error:
        raise OutputError(uri, f"is damaged ({error})", "delete it: it will be measured again") from error
    return table if table.schema.equals(schema, check_metadata=True) else schema.empty_table()
