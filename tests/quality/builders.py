"""Output folders of runs, as the project writes them, without a run."""

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from evs_batch.media.encode import encode
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import constant_rate
from evs_batch.store import ledger
from tests.conftest import stripes

BEST = Output(quality=0)
IDENTITY = {"recipe": {"seed": 23}, "manifest": "abc"}


def write_video(path: Path, frames_FHW3: np.ndarray) -> Path:
    """An mp4 that keeps its frames nearly to the bit."""
    frames, height, width, _ = frames_FHW3.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(path, frames_FHW3, constant_rate(frames, height, width, Fraction(25)), BEST)
    return path


def noisy(frames_FHW3: np.ndarray, by: int = 25) -> np.ndarray:
    """Frames with noise, which is the same every time."""
    noise = np.random.default_rng(0).integers(-by, by + 1, frames_FHW3.shape)
    return np.clip(frames_FHW3 + noise, 0, 255).astype(np.uint8)


def write_clip(folder: Path, name: str, *, frames: int = 3, height: int = 32, width: int = 48) -> dict[str, Any]:
    """A row of a run that made a noisy source better, with all of its files."""
    clean = stripes(frames, height, width)
    write_video(folder / "in" / f"{name}-clean.mp4", clean)
    source = write_video(folder / "in" / f"{name}.mp4", noisy(clean))
    result = write_video(folder / "out" / "videos" / f"{name}.mp4", noisy(clean, 5))
    digest = hashlib.sha256(result.read_bytes()).hexdigest()
    passed = {"id": name, "uri": str(source), "prompt": "stripes", "clean": f"{name}-clean.mp4"}
    return {**passed, "status": "success", "output_uri": str(result), "output_sha256": digest}


def write_run(folder: Path, rows: list[dict[str, Any]]) -> str:
    """The output folder of a run with these rows, whose manifest was in `folder/in`."""
    output = str(folder / "out")
    fields = [pa.field(name, pa.string()) for name in ("uri", "prompt", "clean")]
    book = ledger.open_ledger(output, IDENTITY, fields)
    for row in rows:
        book.commit(row)
    book.flush(force=True)
    ledger.write_stats(output, (1, 1), {"rows": len(rows), "manifest_folder": str(folder / "in")})
    return output


FAILED_ROW = {"id": "z", "uri": "z.mp4", "prompt": "gone", "status": "failed", "error_type": "MediaError"}
