"""An output folder as a run leaves it, with rows that mean harm."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evs_batch.media import previews
from evs_batch.media.encode import encode
from evs_batch.media.probe import probe
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import constant_rate
from evs_batch.store import ledger
from tests.conftest import stripes

HOSTILE = "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'>\u2028 & ' \""
ABOUT = {"recipe": {"composition": "T2I", "t2i": {"steps": 20}}, "manifest": {"rows": 3}, "evs_version": "1.0"}
CALLS = [
    {"worker": "model-0", "stage": "t2i_a", "start_s": 1.0, "end_s": 2.5},
    {"worker": "media-0", "stage": "decode", "start_s": 0.5, "end_s": 1.0},
]
SUMS = {"calls": 1, "frames": 12, "busy_s": 1.5}
STATS = {
    "state": "done", "rows": 3, "manifest_rows": 3, "started_s": 100.0, "updated_s": 190.0, "timeline": CALLS,
    "by_worker": {"model-0": {**SUMS, "idle_s": 2.0}}, "by_stage": {"t2i_a": {**SUMS, "fill": 0.75}},
    "processes": {"model-0": {"memory_bytes": 2 * 10**9, "device": "a GPU"}}, "versions": {"torch": "2.13"},
    "reached": {"fraction": 0.91, "bottleneck": "model"},
}  # fmt: skip


def good(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"clip{number}", "uri": f"/videos/{number}.mp4", "prompt": f"star number {number}", "status": "success",
        "attempts": 1, "num_frames": 12, "width": 96, "height": 64, "fps": 24.0, "duration_s": 0.5,
        "output_bytes": 1000 * number, "t2i_seconds": 1.5, "t2v_seconds": 0.5, **changes,
    }  # fmt: skip


def bad(row_id: str, cause: str, message: str = "why: rule; fix") -> dict[str, Any]:
    failed = {"status": "failed", "error_type": cause, "error_stage": "probe", "error_message": message, "attempts": 1}
    return {"id": row_id, "uri": f"https://host/{row_id}.mp4", "prompt": "p", **failed}


@pytest.fixture
def make_output(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as a finished run; those that are named in `clips` have previews, made of real videos."""

    def make(
        rows: list[dict[str, Any]], clips: tuple[str, ...] = (), stats: tuple[dict[str, Any], ...] = (STATS,)
    ) -> Path:
        output = tmp_path / "out"
        fields = [pa.field("uri", pa.string()), pa.field("prompt", pa.string())]
        with_uri = [{**row, "output_uri": f"{output}/videos/{row['id']}.mp4"} for row in rows]
        book = ledger.open_ledger(str(output), ABOUT, fields, force=False, check=lambda: None)
        for row in with_uri:
            book.commit(row)
        book.close()
        for number, record in enumerate(stats):
            ledger.write_stats(str(output), (number + 1, len(stats)), record)
        for row_id in clips:
            _previews(output, row_id)
        return output

    return make


def _previews(output: Path, row_id: str) -> None:
    for folder in ("videos", "previews"):
        (output / folder).mkdir(exist_ok=True)
    source, result = output / "videos" / f"{row_id}.source.mp4", output / "videos" / f"{row_id}.mp4"
    facts, frames = constant_rate(12, 64, 96, Fraction(24)), stripes(12, 64, 96)
    encode(source, frames // 4, facts, Output(quality=8))
    encode(result, 255 - frames // 4, facts, Output(quality=8))
    with source.open("rb") as file:
        found = probe(file)
        with previews.opened(file, found, result) as pair:
            for name, make in previews.KINDS.values():
                make(output / "previews" / f"{row_id}.{name}", pair)


def write_metrics(output: Path, rows: list[dict[str, Any]]) -> None:
    (output / "quality").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), output / "quality" / "metrics.parquet")
