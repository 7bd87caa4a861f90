"""The enhance recipe at full size by workers that get only a share of a GPU's memory, against one that gets all of it.

    python bench/memory.py FOLDER [SHARE …]        random weights are written to FOLDER, or found there

Prints for each share how many of four clips are done, what the workers gave up, and the PSNR to the unlimited run.
"""

import os
import re
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from evs_batch.bench.device import jobs, weights
from evs_batch.evaluate import psnr
from evs_batch.media.decode import decode
from evs_batch.media.encode import encode
from evs_batch.media.probe import probe
from evs_batch.models import hardware
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import constant_rate

CLIPS, SHARES = 4, ("0.05", "0.03", "0.02")
SHORT = ("t2i.steps=10", "t2v.switch_at=[2]")  # what fits does not depend on the number of steps


def read(path: Path) -> np.ndarray:
    """All frames of a video."""
    with path.open("rb") as file:
        facts = probe(file)
        file.seek(0)
        return decode(file, facts)


def run(manifest: Path, models: Path, output: Path, share: str) -> str:
    """Run the job; gives what it said."""
    t2i = models / "t2i"
    named = (f"t2i.model={t2i}", f"t2v.base={t2i}", f"t2v.model={models / 'motion'}")
    settings = [word for setting in (*named, *SHORT) for word in ("--set", setting)]
    command = [sys.executable, "-m", "evs_batch", "run", str(manifest), "--recipe", "enhance", *settings]
    limit = {"PYTORCH_CUDA_ALLOC_CONF": f"per_process_memory_fraction:{share}"}
    done = subprocess.run(
        [*command, "--output", str(output), "--plain"],
        env={**os.environ, **limit}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def main() -> None:
    """The unlimited run, then each share."""
    models, shares = Path(sys.argv[1]).absolute(), sys.argv[2:] or SHARES
    if not (models / "motion").is_dir():
        weights.write(models, "full", hardware.device())
    total_gb = torch.cuda.get_device_properties(0).total_memory / 1e9
    with tempfile.TemporaryDirectory(prefix="evs-memory-") as name:
        folder, clip = Path(name), Path(name) / "clip.mp4"
        frames = jobs.moving_blots(16, *jobs.JOBS["VC2"])
        encode(clip, frames, constant_rate(*frames.shape[:3], Fraction(8)), Output())
        rows = [{"id": f"clip{n}", "uri": str(clip), "prompt": "a red star", "seed": n} for n in range(CLIPS)]
        pq.write_table(pa.Table.from_pylist(rows), manifest := folder / "rows.parquet")
        for share in ("1.0", *shares):
            said = run(manifest, models, folder / share, share)
            gave_up = re.findall(r"from now on it has (.+)", said)
            videos = sorted((folder / share / "videos").glob("*.mp4"))
            likeness = [f"{psnr(read(video), read(folder / '1.0' / 'videos' / video.name)):.1f}" for video in videos]
            print(f"{float(share) * total_gb:.1f} GB: {len(videos)} of {CLIPS} done; PSNR {likeness}; {gave_up}")


if __name__ == "__main__":
    main()
