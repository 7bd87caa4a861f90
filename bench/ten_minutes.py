"""Ten minutes of 1080p through the media stages of a worker, segment by segment: frames per second and peak memory.

python bench/ten_minutes.py [MINUTES [encode]]: with `encode`, results are encoded, joined and verified, too.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg

from evs_batch.spec.recipe import load_recipe
from evs_batch.spec.work import DECODE, ENCODE, JOIN, PROBE, Clip
from evs_batch.stages.item import Item
from evs_batch.stages.media import MediaRunner

KB_IN_MB = 1024


def peak_mb() -> float:
    """Of this program; what `getrusage` says counts the one that started it."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / KB_IN_MB


def main(minutes: float, encoded: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        source = f"testsrc2=size=1920x1080:rate=25:duration={minutes * 60}"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p"]
        subprocess.run([*command, "-preset", "ultrafast", "-g", "250", str(path)], check=True)
        runner = MediaRunner(load_recipe("identity", ["output.preset=draft"]))
        clip = Clip(id="long", uri=str(path), prompt="", seed=0)
        item = Item(clip=clip, facts=None, output="", parts=folder, budget_bytes=4 * 10**9)
        print(f"before: {peak_mb():.0f} MB")
        began_s = time.perf_counter()
        probed = runner.run(PROBE, [item], [{}])[0].probed
        assert probed is not None
        print(f"probe: {time.perf_counter() - began_s:.1f} s, {peak_mb():.0f} MB")
        began_s, segments = time.perf_counter(), probed.size.segments
        for number in range(segments.count):
            own = replace(item, facts=probed.facts, output=f"{folder}/out.mp4", segments=segments, number=number)
            (decoded,) = runner.run(DECODE, [own], [{}])
            if encoded:
                part = replace(own, facts=probed.facts.part(own.own))
                runner.run(ENCODE, [part], [{"frames": decoded.arrays["frames"]}])
        if encoded:
            runner.run(JOIN, [replace(item, facts=probed.facts, output=f"{folder}/out.mp4", segments=segments)], [{}])
        seconds = time.perf_counter() - began_s
        print(f"{segments.frames} frames in {segments.count} segments: {segments.frames / seconds:.0f} a second")
        print(f"peak memory of the process: {peak_mb():.0f} MB")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10, encoded=sys.argv[2:] == ["encode"])
