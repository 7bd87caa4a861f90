"""Make the demo's clips and manifest again: `python manifests/make_demo.py`. The files are checked in."""

import json
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import pyarrow as pa
import pyarrow.parquet as pq

from evs_batch.media.encode import encode
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import constant_rate
from evs_batch.tiny import clips

HERE = Path(__file__).parent
SOUND = "with_sound"
# name, frames, frames per second, held-out seed
CLIPS = [
    ("short", 16, Fraction(8), 3_000_101),
    ("film", 24, Fraction(24000, 1001), 3_000_102),
    (SOUND, 40, Fraction(25), 3_000_103),
    ("odd_length", 19, Fraction(10), 3_000_104),
    ("ntsc", 32, Fraction(30000, 1001), 3_000_105),
    ("smooth", 36, Fraction(60), 3_000_106),
]


def main() -> None:
    (HERE / "clips").mkdir(exist_ok=True)
    rows = []
    for name, frames, rate, seed in CLIPS:
        scene = clips.scene(seed)
        degraded = clips.degrade(clips.render(scene, frames), seed)
        facts = constant_rate(frames, clips.SIZE_PX, clips.SIZE_PX, rate)
        path = HERE / "clips" / f"{name}.mp4"
        if name == SOUND:
            with _tone(float(frames / rate)).open("rb") as sound:
                encode(path, degraded, facts, Output(quality=10), sound)
        else:
            encode(path, degraded, facts, Output(quality=10))
        rows.append({"id": name, "uri": f"clips/{name}.mp4", "prompt": scene.caption, "scene_seed": seed})
    pq.write_table(pa.Table.from_pylist(rows), HERE / "demo.parquet")
    print(json.dumps(rows, indent=1))


def _tone(seconds: float) -> Path:
    """A file with a tone, whose packets are copied."""
    path = Path(tempfile.mkdtemp()) / "tone.mp4"
    tone = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}", "-c:a", "aac"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *tone, str(path)], check=True)
    return path


if __name__ == "__main__":
    main()
