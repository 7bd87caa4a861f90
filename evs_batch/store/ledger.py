"""The output folder of a run: which rows are done, and how that is recorded.

videos/<id>.mp4      (or .mov, .mkv) published first
manifest/*.parquet   then its row; parts, each written whole (parts.py)
_run/run.json        recipe, manifest and version that the folder belongs to
_run/done.json       what has been finished, so that the same command is over in seconds
_run/stats.json      progress and, at the end, figures and timeline
_run/trace.json      the timeline for https://ui.perfetto.dev
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from evs_batch.spec.codecs import MUXERS
from evs_batch.spec.errors import ManifestError, OutputError, StorageError
from evs_batch.spec.manifest import OUTPUT_COLUMNS
from evs_batch.store import lease, locks, parquet, parts, shards, storage
from evs_batch.store.parts import Parts

FLUSH_ROWS = 256
FLUSH_S = 5.0


@dataclass
class Ledger:
    """Committed rows of one output folder. Not for two drivers on the same rows: `check` raises when there are."""

    schema: pa.Schema
    parts: Parts
    check: Callable[[], None] = lambda: None
    _pending: list[dict[str, Any]] = field(default_factory=list)
    _flushed_s: float = field(default_factory=time.monotonic)

    def commit(self, row: Mapping[str, Any]) -> None:
        """Take a finished row; it is durable after the next flush."""
        self._pending.append({name: row.get(name) for name in self.schema.names})

    def flush(self, *, force: bool = False) -> None:
        """Write the waiting rows as a new part once there are enough of them or some time has passed."""
        due = len(self._pending) >= FLUSH_ROWS or time.monotonic() - self._flushed_s >= FLUSH_S
        if self._pending and (due or force):
            self.check()
            self.parts.append(pa.Table.from_pylist(self._pending, self.schema))
            self._pending.clear()
            self.parts.compact()
        if due or force:
            self._flushed_s = time.monotonic()

    def close(self) -> None:
        """Write what waits, and make one part of the small ones."""
        self.flush(force=True)
        self.parts.merge()


def open_ledger(
    uri: str,
    identity: Mapping[str, Any],
    fields: list[pa.Field],
    *,
    force: bool = False,
    check: Callable[[], None] = lambda: None,
) -> Ledger:
    """Open or begin an output folder; raises OutputError if it belongs to another recipe, manifest or version.

    A folder without a committed row belongs to nobody yet; by force one is taken over with its rows.
    """
    try:
        parts.tidy(_manifest(uri))
        if parts.listed(_manifest(uri)) and not force:
            _refuse_difference(uri, _read_identity(uri), identity)
        else:
            storage.write_bytes(json.dumps(identity, indent=2).encode(), storage.join(uri, "_run", "run.json"))
    except (OSError, ValueError, ImportError, StorageError) as error:
        raise OutputError(uri, f"cannot be used ({error})", "name a folder that can be written") from error
    outputs = [pa.field(name, pa.type_for_alias(kind)) for name, kind in OUTPUT_COLUMNS.items()]
    schema = pa.schema([*fields, *outputs])
    try:
        parquet.written(pa.Table.from_pylist([dict.fromkeys(schema.names)], schema))
    except pa.ArrowException as error:
        raise ManifestError("a column", f"cannot be passed through ({error})", "leave it out") from error
    return Ledger(schema, Parts(_manifest(uri)), check)


def _manifest(uri: str) -> str:
    return storage.join(uri, "manifest")


@contextlib.contextmanager
def exclusive(uri: str, shard: shards.Shard) -> Iterator[Callable[[], None]]:
    """Keep other drivers off the same rows: by a lock that ends with the process, or a lease where there are none.

    Shards of one number go together, and nothing else does. Gives a check, which raises OutputError if it came to pass
    all the same.
    """
    with contextlib.ExitStack() as stack:
        try:
            if storage.is_local(uri):
                stack.enter_context(locks.held(os.path.join(storage.filesystem(uri)[1], "_run"), shard))
                check = _nothing
            else:
                check = stack.enter_context(lease.held(storage.join(uri, "_run"), shard))
        except BlockingIOError:
            raise OutputError(uri, "is in use by another driver", "wait for it or stop it") from None
        except (OSError, StorageError) as error:
            raise OutputError(uri, f"cannot be used ({error})", "name a folder that can be written") from error
        yield check


def _nothing() -> None:
    """A lock cannot get lost."""


def _read_identity(uri: str) -> Mapping[str, Any]:
    known = storage.read_bytes(storage.join(uri, "_run", "run.json"))
    if known is None:
        raise OutputError(uri, "has an output manifest but no _run/run.json", "use a new output folder")
    return json.loads(known)


def committed(uri: str, columns: list[str]) -> Iterator[dict[str, Any]]:
    """The committed rows of an output folder."""
    for table in committed_tables(uri, columns):
        yield from table.to_pylist()


def committed_tables(uri: str, columns: list[str]) -> Iterator[pa.Table]:
    """The committed rows of an output folder, part by part."""
    yield from parts.read_all(_manifest(uri), columns)


def column_names(uri: str) -> list[str]:
    """The columns of an output manifest; none if nothing is committed."""
    return parts.column_names(_manifest(uri))


def manifest_folder(uri: str) -> str | None:
    """Where the relative paths of a run's input manifest start; None in records that do not say it."""
    folders = (record.get("manifest_folder") for record in read_stats(uri))
    return next((folder for folder in folders if folder), None)


def forget_failed(uri: str, ids: set[str]) -> None:
    """Take the failed ones of these rows out of the output manifest, so that they count as not done."""
    for part in parts.listed(_manifest(uri)):
        table = parts.read(part)
        rows = zip(table["id"].to_pylist(), table["status"].to_pylist(), strict=True)
        kept = table.filter(pa.array([status != "failed" or name not in ids for name, status in rows]))
        if len(kept) < len(table):
            parts.rewrite(part, kept)


def tidy(uri: str, shard: shards.Shard) -> None:
    """Remove half files of processes that were killed, unless other drivers may be writing there."""
    if shard == shards.WHOLE and not storage.is_whole_by_itself(uri):
        for name in _half_files(uri):
            storage.remove_file(name)


def leftovers(uri: str) -> dict[str, int]:
    """What drivers and workers that were killed left behind, by kind; the same command again finishes or removes it."""
    videos = {name for name in storage.names(storage.join(uri, "videos")) if not name.endswith(storage.PARTIAL)}
    for table in committed_tables(uri, ["id"]):
        ids = table["id"].to_pylist()
        videos.difference_update(f"{name}.{kind}" for name in ids for kind in MUXERS)
    found = {
        "half files": len(_half_files(uri)),
        "videos without a row": len(videos),
        "clips with segments": len(storage.names(storage.join(uri, "_run", "parts"))),
    }
    return {kind: count for kind, count in found.items() if count}


def _half_files(uri: str) -> list[str]:
    folders = [storage.join(uri, name) for name in ("videos", "manifest", "_run")]
    files = (storage.join(folder, name) for folder in folders for name in storage.names(folder))
    return [name for name in files if name.endswith(storage.PARTIAL)]


def write_done(uri: str, shard: shards.Shard, key: str, counts: Mapping[str, int]) -> None:
    """Record that all of a run, known by its key, is committed."""
    record = {"key": key, "parts": parts.digest(_manifest(uri)), **counts}
    storage.write_bytes(json.dumps(record).encode(), storage.join(uri, "_run", shards.name("done", shard)))


def read_done(uri: str, shard: shards.Shard, key: str) -> Mapping[str, int] | None:
    """The counts of a run that is committed; None if it is another one, or if its manifest has been changed since."""
    record = json.loads(storage.read_bytes(storage.join(uri, "_run", shards.name("done", shard))) or b"{}")
    if record.get("key") != key or record.get("parts") != parts.digest(_manifest(uri)):
        return None
    return record


def write_stats(uri: str, shard: shards.Shard, stats: Mapping[str, Any]) -> None:
    """Replace a driver's record of progress."""
    stats = {"shards": shard[1], **stats}
    storage.write_bytes(json.dumps(stats, indent=1).encode(), storage.join(uri, "_run", shards.name("stats", shard)))


def write_trace(uri: str, shard: shards.Shard, trace: Mapping[str, Any]) -> None:
    """Replace the trace of one driver."""
    storage.write_bytes(json.dumps(trace).encode(), storage.join(uri, "_run", shards.name("trace", shard)))


def read_stats(uri: str) -> list[dict[str, Any]]:
    """The records of all drivers of the last division into shards; those of earlier ones tell of the same rows."""
    folder = storage.join(uri, "_run")
    found = (
        storage.read_bytes(storage.join(folder, name))
        for name in sorted(storage.names(folder))
        if name.startswith("stats")
    )
    records = [json.loads(record) for record in found if record]
    last = max(records, key=lambda record: record.get("updated_s", 0.0), default={})
    return [record for record in records if record.get("shards") == last.get("shards")]


def _refuse_difference(uri: str, known: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    flat_known, flat_now = dict(_flat(known)), dict(_flat(now))
    changed = [
        f"{key}: {flat_known.get(key)!r} -> {flat_now.get(key)!r}"
        for key in sorted(flat_known.keys() | flat_now.keys())
        if flat_known.get(key) != flat_now.get(key)
    ]
    if changed:
        raise OutputError(
            uri,
            f"belongs to another run ({'; '.join(changed)})",
            "use a new output folder, undo the change, or go on with --force: committed rows stay as they are",
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
