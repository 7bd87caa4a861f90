"""Encoders of FFmpeg that PyAV alone must not write results with, and why: each in processes of its own.

python bench/encoders.py [TRIES]
"""

import hashlib
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import av
import numpy as np

ENCODERS = {"libx264": "yuv420p", "libx265": "yuv420p", "prores_ks": "yuv422p10le", "prores_aw": "yuv422p10le"}
CLIPS = ((1, 64, 96), (2, 64, 96), (12, 32, 48), (12, 64, 96), (12, 66, 98))  # frames, height, width
DIGEST = 64  # letters


def encode(path: str, encoder: str, frames: int, height: int, width: int) -> None:
    """Noise, the same every time."""
    rng = np.random.default_rng(0)
    with av.open(path, "w", format="mov", options={"fflags": "+bitexact"}) as out:
        video = out.add_stream(encoder, rate=25)
        video.width, video.height, video.pix_fmt = width, height, ENCODERS[encoder]
        video.codec_context.thread_count = 1
        video.options = {"x265-params": "log-level=error"} if encoder == "libx265" else {}
        for _ in range(frames):
            picture = av.VideoFrame.from_ndarray(rng.integers(0, 255, (height, width, 3), np.uint8), format="rgb24")
            out.mux(video.encode(picture.reformat(format=ENCODERS[encoder])))
        out.mux(video.encode(None))


def several(tries: int, encoder: str, *clip: int) -> None:
    """In this process, as a worker does: a line for each file, its digest or the error."""
    for number in range(tries):
        rubbish = [np.full(50_000 + number, number, np.uint8) for _ in range(20)]  # where frames will be
        del rubbish
        with tempfile.NamedTemporaryFile(suffix=".mov") as file:
            try:
                encode(file.name, encoder, *clip)
                print(hashlib.sha256(Path(file.name).read_bytes()).hexdigest(), flush=True)
            except av.FFmpegError as error:
                print(error.strerror, flush=True)


def main() -> None:
    """A line for each encoder and clip: what came of so many tries in one process."""
    tries = sys.argv[1] if len(sys.argv) > 1 else "6"
    for encoder in ENCODERS:
        for clip in CLIPS:
            call = [sys.executable, __file__, tries, encoder, *map(str, clip)]
            done = subprocess.run(call, capture_output=True, text=True, check=False)
            lines = [line for line in done.stdout.splitlines() if line]
            files, errors = {x for x in lines if len(x) == DIGEST}, Counter(x for x in lines if len(x) != DIGEST)
            end = f"ended by signal {-done.returncode}" if done.returncode < 0 else "ended well"
            name = f"{encoder}, {clip[0]} frames of {clip[2]}x{clip[1]}"
            print(f"{name}: {end}, {len(files)} different files, errors {dict(errors)}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        several(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
    else:
        main()
