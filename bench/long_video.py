"""A long video of the tiny domain through a real job: memory over time, and what is seen at the borders of segments.

python bench/long_video.py FOLDER [FRAMES]     10,000 frames take half an hour on two cores
"""

import json
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil

from evs_batch.media.cuts import BEFORE, find_cuts
from evs_batch.media.decode import Reader
from evs_batch.media.encode import encode
from evs_batch.media.probe import probe
from evs_batch.spec.recipe import Output, load_recipe
from evs_batch.spec.segments import cut
from evs_batch.spec.video import constant_rate
from evs_batch.tiny import clips

MEMORY_GB, NEAR_FRAMES, AT_ONCE_FRAMES, SAMPLE_S, WARM_S = 0.1, 8, 500, 2.0, 30.0
RESAMPLES = 2000


def make(path: Path, frames: int) -> None:
    """Degraded shots of 40 to 119 frames, one after the other."""
    random, shots, seed = np.random.default_rng(0), [], clips.HELD_OUT_SEEDS[0]
    while (left := frames - sum(map(len, shots))) > 0:
        seed += 1
        shots.append(clips.degrade(clips.render(clips.scene(seed), min(left, int(random.integers(40, 120)))), seed))
    encode(path, np.concatenate(shots), constant_rate(frames, 128, 128, Fraction(24)), Output(quality=8))


def run(folder: Path) -> tuple[float, list[int]]:
    """The job; its seconds, and bytes of its processes (shared pages left out) over time, once they are up."""
    (folder / "long.jsonl").write_text(json.dumps({"id": "long", "uri": "long.mp4", "prompt": "a red star"}))
    command = [sys.executable, "-m", "evs_batch", "run", str(folder / "long.jsonl"), "--recipe", "demo", "--plain"]
    began_s, held = time.monotonic(), []
    job = subprocess.Popen([*command, f"--set=runtime.memory_gb={MEMORY_GB}", "--output", str(folder / "out")])
    while job.poll() is None:
        time.sleep(SAMPLE_S)
        if time.monotonic() - began_s > WARM_S:
            held.append(private_bytes(job.pid))
    if job.returncode:
        sys.exit(job.returncode)
    return time.monotonic() - began_s, held[:-1]


def private_bytes(pid: int) -> int:
    """Of a process and all that it has started."""
    total = 0
    try:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            memory = process.memory_info()
            total += memory.rss - memory.shared
    except psutil.Error:
        pass  # it has ended meanwhile
    return total


def seam(path: Path) -> tuple[int, float, np.ndarray]:
    """Borders without a cut near them, how much frames differ across them against near by, and its 95% interval."""
    with path.open("rb") as file:
        facts = probe(file)
        reader, change, cuts = Reader(file, facts), [], []
        for start in range(0, facts.frames, AT_ONCE_FRAMES):
            before = [*reader.approach(start, BEFORE)]
            frames = reader.read(range(start, min(facts.frames, start + AT_ONCE_FRAMES)))
            change += [*np.abs(np.diff(np.stack([*before[-1:], *frames]).astype(np.int16), axis=0)).mean((1, 2, 3))]
            cuts += [*(start + np.flatnonzero(find_cuts(frames, before, 10.0)))]
    segments = cut(facts.frames, load_recipe("demo").runtime.segment_frames)
    pairs = []
    for border in (segments.span(number).start for number in range(1, segments.count)):
        near = [
            f for f in range(border - NEAR_FRAMES, border + NEAR_FRAMES + 1) if f != border and 0 < f < facts.frames
        ]
        if not any(abs(found - border) <= NEAR_FRAMES for found in cuts):
            pairs.append((change[border - 1], np.mean([change[f - 1] for f in near])))
    drawn = np.random.default_rng(0).integers(0, len(pairs), (RESAMPLES, len(pairs)))
    across, beside = np.array(pairs).T
    ratios = across[drawn].mean(1) / beside[drawn].mean(1)
    return len(pairs), across.mean() / beside.mean(), np.quantile(ratios, [0.025, 0.975])


def main(folder: Path, frames: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    make(folder / "long.mp4", frames)
    seconds, held = run(folder)
    borders, ratio, (low, high) = seam(folder / "out" / "videos" / "long.mp4")
    first, second = (max(half) / 1e9 for half in np.array_split(held, 2))
    print(
        f"{frames} frames in {seconds:.0f} s; processes hold up to {first:.2f} GB in its first half, {second:.2f} after"
    )
    print(f"{borders} borders: {ratio:.3f} ({low:.3f} to {high:.3f}) times the difference of the frames near by")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
