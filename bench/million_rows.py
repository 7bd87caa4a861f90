"""Memory and time of the driver over a manifest of a million rows: reading, ledger and progress, without any video.

    python bench/million_rows.py [ROWS]

The scheduler and Ray are left out (clips are finished as they come): their state holds unfinished clips only.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evs_batch.driver import job
from evs_batch.runtime.loop import Finished
from evs_batch.scheduling.events import Failure, FailureKind
from evs_batch.spec.recipe import load_recipe

CHUNK = 100_000
NOTHING = Failure(kind=FailureKind.BAD_INPUT, stage="probe", type="MediaError", message="there is no such file")


def write_manifest(path: Path, rows: int) -> None:
    """Rows in row groups, as a crawler would write them."""
    schema = pa.schema([("uri", pa.string()), ("prompt", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, CHUNK):
            numbers = range(start, min(rows, start + CHUNK))
            uris = [f"s3://bucket/folder/{number // 1000:05}/video_{number:09}.mp4" for number in numbers]
            prompts = [f"a video of number {number}, in good light, sharp and clear" for number in numbers]
            writer.write_table(pa.table({"uri": uris, "prompt": prompts}, schema))


def instead_of_the_loop(driver: Any, clips: Any) -> Any:
    """Ends every clip as it comes."""

    def run() -> None:
        for clip in clips:
            ended = {"failure": NOTHING, "attempts": 1, "begun_again": False, "row": {}, "seconds": {}, "segments": 1}
            driver._finish(Finished(clip=clip, **ended))
            driver._ledger.flush()

    account = SimpleNamespace(reached=lambda _: None, as_dict=lambda *_: {})
    timeline = SimpleNamespace(overlap_s=lambda: 0.0, account=account, calls=[], trace=dict)
    return SimpleNamespace(run=run, timeline=timeline, policy=None)


def main() -> None:
    """Once from nothing, once more to find that everything is done."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    job.Job._loop = instead_of_the_loop
    job.cluster.release_autoscaler = lambda _: None
    with tempfile.TemporaryDirectory() as folder:
        write_manifest(Path(folder) / "rows.parquet", rows)
        print(f"{rows} rows, {_peak_mb():.0f} MB before the run", flush=True)
        for what in ("a run of", "a run that finds everything done,"):
            began_s = time.perf_counter()
            manifest, output = Path(folder) / "rows.parquet", Path(folder) / "out"
            summary = job.run(manifest, load_recipe("identity"), output, max_failed_fraction=1.0)
            assert summary.failed == rows, summary
            print(f"{what} {rows} rows: {time.perf_counter() - began_s:.1f} s, peak {_peak_mb():.0f} MB", flush=True)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
