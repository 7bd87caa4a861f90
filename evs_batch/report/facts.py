"""What the report shows of a run, as plain data."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from evs_batch.display import POOLS
from evs_batch.spec import toml
from evs_batch.spec.errors import OutputError, masked
from evs_batch.spec.failures import FAILURES
from evs_batch.spec.manifest import OUTPUT_COLUMNS, REQUIRED
from evs_batch.spec.units import amount, duration
from evs_batch.store import ledger, parquet, storage

MOST_ROWS = 10_000
MOST_FAILED = 1_000  # of later rows
MOST_CALLS = 10_000
EXAMPLES = 20
BINS = 20
OPENED = ("https://", "http://", "file://")  # what a link of the page may lead to

Facts = dict[str, Any]


def collect(output: str) -> Facts:
    """All of it; raises OutputError for a folder without a run."""
    records = ledger.read_stats(output)
    if not records:
        raise OutputError(output, "holds no run", "name the folder that was given to `evs-batch run --output`")
    tally = Tally(output)
    for row in ledger.committed(output, tally.columns):
        tally.add(row)
    return {
        "output": masked(output),
        "summary": _summary(records, tally),
        "rows": tally.rows,
        "left_out": tally.seen - len(tally.rows),
        "failures": tally.failures(),
        **_work(records),
        "quality": _quality(output),
        "recipe": _recipe(output, records),
    }


ROLES = {role: (role, *others) for role, others in REQUIRED.items()}  # parts of a folder may have different columns


def _of_role(row: Mapping[str, Any], role: str) -> Any:
    return next((row[name] for name in ROLES[role] if row.get(name) is not None), None)


class Tally:
    """Rows as they pass: the first ones whole, later ones if they failed, and sums over all of them."""

    def __init__(self, output: str) -> None:
        self.columns = [*OUTPUT_COLUMNS, *(name for names in ROLES.values() for name in names)]
        self._output, self._previews = output, storage.names(storage.join(output, "previews"))
        self.seen, self.rows = 0, list[Facts]()
        self.counts, self.sums = Counter[str](), Counter[str]()
        self._causes, self._examples = Counter[str](), defaultdict[str, list[tuple[str, str, str]]](list)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a committed row."""
        self.seen += 1
        self.counts[row["status"]] += 1
        for name in ("num_frames", "duration_s", "output_bytes", "t2i_seconds", "t2v_seconds"):
            self.sums[name] += row.get(name) or 0
        if row["status"] == "failed":
            cause, message = str(row["error_type"]), masked(str(row["error_message"]))
            self._causes[cause] += 1
            if len(self._examples[cause]) < EXAMPLES:
                self._examples[cause].append((row["id"], str(row["error_stage"]), message))
        room = MOST_ROWS + MOST_FAILED if row["status"] == "failed" else MOST_ROWS
        if len(self.rows) < room:
            self.rows.append(self._shown(row))

    def failures(self) -> list[Facts]:
        """The causes, the most frequent first, with what to do."""
        unknown = ("an error that nobody foresaw", "look at the message")
        return [
            {
                "type": cause, "count": count, "examples": self._examples[cause],
                **dict(zip(("meaning", "fix"), FAILURES.get(cause, unknown), strict=True)),
            }
            for cause, count in self._causes.most_common()
        ]  # fmt: skip

    def _shown(self, row: Mapping[str, Any]) -> Facts:
        failed = row["status"] == "failed"
        notes = f"{row['error_type']}: {row['error_message']}" if failed else row.get("output_warnings") or ""
        size = f"{row['width']}x{row['height']}" if row.get("width") else ""
        return {
            "id": row["id"], "status": row["status"], "prompt": str(_of_role(row, "prompt") or ""),
            "frames": row.get("num_frames"), "seconds": row.get("duration_s"), "size": size,
            "t2i": row.get("t2i_seconds"), "t2v": row.get("t2v_seconds"), "bytes": row.get("output_bytes"),
            "attempts": row.get("attempts"), "notes": masked(notes),
            "result": None if failed else self._link(row.get("output_uri")),
            "source": self._link(_of_role(row, "uri")),
            "clip": self._preview(row["id"], "side_by_side.mp4"), "sheet": self._preview(row["id"], "sheet.jpg"),
        }  # fmt: skip

    def _preview(self, row_id: str, kind: str) -> str | None:
        name = f"{row_id}.{kind}"
        return f"previews/{quote(name)}" if name in self._previews else None

    def _link(self, uri: Any) -> str | None:
        """Relative for what lies in the folder; nothing for what a browser does not open."""
        if not isinstance(uri, str):
            return None
        if uri.startswith(f"{self._output}/"):
            return quote(uri.removeprefix(f"{self._output}/"))
        if uri.startswith("/"):
            return Path(uri).as_uri()
        return masked(uri) if uri.startswith(OPENED) else None


def _summary(records: Sequence[Mapping[str, Any]], tally: Tally) -> list[tuple[str, str]]:
    total = max(record.get("manifest_rows", record["rows"]) for record in records)
    elapsed_s = max(r["updated_s"] for r in records) - min(r["started_s"] for r in records)
    sums = tally.sums
    return [
        ("state", ", ".join(sorted({record["state"] for record in records}))),
        ("rows committed", f"{tally.seen:,} of {total:,}"),
        ("success", f"{tally.counts['success']:,}"),
        ("failed", f"{tally.counts['failed']:,}"),
        ("frames", f"{sums['num_frames']:,}"),
        ("video", duration(sums["duration_s"])),
        ("results", amount(sums["output_bytes"])),
        ("last run took", duration(elapsed_s)),
        ("T2I, all workers", duration(sums["t2i_seconds"])),
        ("T2V, all workers", duration(sums["t2v_seconds"])),
    ]


def _work(records: Sequence[Mapping[str, Any]]) -> Facts:
    """What workers did, of all drivers that have written there, each from its own start on."""
    calls, workers, stages = list[tuple[str, str, float, float]](), list[Sequence[Any]](), dict[str, Counter[str]]()
    reached = list[str]()
    for number, record in enumerate(records):
        mark = f"{number + 1}: " if len(records) > 1 else ""
        for call in record.get("timeline", ())[-MOST_CALLS // len(records) :]:
            calls.append((mark + call["worker"], call["stage"], call["start_s"], call["end_s"]))
        for name, sums in record.get("by_worker", {}).items():
            held = record.get("processes", {}).get(name, {}).get("memory_bytes", 0) / 1e9
            workers.append((mark + name, sums["calls"], sums["frames"], sums["busy_s"], sums["idle_s"], held or None))
        for name, sums in record.get("by_stage", {}).items():
            stages.setdefault(name, Counter()).update({key: sums[key] or 0 for key in ("calls", "frames", "busy_s")})
            stages[name]["filled"] += (sums.get("fill") or 0) * sums["calls"]
        if found := record.get("reached"):
            reached.append(
                f"{found['fraction']:.2f} ({mark}bottleneck: {POOLS.get(found['bottleneck'], found['bottleneck'])})"
            )
    said = "Of what the workers allow (full calls, no pause) was reached: " + "; ".join(reached) if reached else ""
    lines = [
        (
            name,
            s["calls"],
            s["frames"],
            s["busy_s"],
            1000 * s["busy_s"] / max(1, s["frames"]),
            s["filled"] / max(1, s["calls"]) or None,
        )
        for name, s in stages.items()
    ]
    return {"calls": calls, "workers": sorted(workers, key=lambda worker: worker[0]), "stages": lines, "reached": said}


def _quality(output: str) -> list[Facts]:
    """Metrics of `evs-batch evaluate`, if there are any: means and histograms of sources and results."""
    data = storage.read_bytes(storage.join(output, "quality", "metrics.parquet"))
    if data is None:
        return []
    table = parquet.table(BytesIO(data))
    names = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    return list(filter(None, (_metric(table, name) for name in names if not name.startswith("source_"))))


def _metric(table: pa.Table, name: str) -> Facts | None:
    result_N, source_N = (_finite(table, column) for column in (name, f"source_{name}"))
    if not len(result_N):
        return None
    every_N = np.concatenate([result_N, source_N])
    low, high = float(every_N.min()), float(every_N.max())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    return {
        "name": name, "rows": len(result_N), "low": low, "high": high, "result": float(result_N.mean()),
        "result_bins": np.histogram(result_N, edges)[0].tolist(),
        "source": float(source_N.mean()) if len(source_N) else None,
        "source_bins": np.histogram(source_N, edges)[0].tolist(),
    }  # fmt: skip


def _finite(table: pa.Table, column: str) -> np.ndarray:
    if column not in table.schema.names:
        return np.empty(0)
    values_N = table[column].to_numpy().astype(np.float64)
    return values_N[np.isfinite(values_N)]


def _recipe(output: str, records: Sequence[Facts]) -> str:
    """The recipe, below what it ran on; drivers of one run may differ in that."""
    known = json.loads(storage.read_bytes(storage.join(output, "_run", "run.json")) or b"{}")
    processes = [process for record in records for process in record.get("processes", {}).values()]
    about = {"evs_version": known.get("evs_version"), "manifest": known.get("manifest", {})}
    for record in records:
        about |= {name: record[name] for name in ("versions",) if name in record}
    about |= {"workers": dict(Counter(p["device"] for p in processes if p.get("role") != "media" and "device" in p))}
    lines = "".join(f"# {name}: {json.dumps(value)}\n" for name, value in about.items())
    return lines + toml.dump(known.get("recipe", {}))
