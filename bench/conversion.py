"""What ways to convert stored colours to RGB cost, and what they lose: `python bench/conversion.py`.

For each set of swscale's flags: frames of 640x1024 decoded in a second, how far eight flat colours come back (levels of
255), and how near clips of the tiny domain come back from 4:2:0 (dB).
"""

import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from evs_batch.bench.media import pictures
from evs_batch.evaluate import psnr
from evs_batch.media import filters
from evs_batch.media.decode import decode
from evs_batch.media.encode import encode
from evs_batch.media.probe import probe
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import BT709, constant_rate
from evs_batch.tiny import clips

EXACT = filters.EXACT
WAYS = ("bicubic", "bilinear+accurate_rnd+full_chroma_int", EXACT)
FRAMES, CELL = 32, 32
COLOURS = [[255] * 3, [0] * 3, [128] * 3, [220, 30, 30], [30, 200, 40], [20, 40, 220], [230, 220, 20], [90, 60, 30]]


def there_and_back(frames_FHW3: np.ndarray, way: str) -> np.ndarray:
    filters.EXACT = EXACT
    store = filters.from_rgb(BT709, "yuv420p")
    stored = [store(av.VideoFrame.from_ndarray(np.ascontiguousarray(p), format="rgb24")) for p in frames_FHW3]
    filters.EXACT = way
    show = filters.to_rgb(BT709, full_range=False, pixels="rgb24")
    return np.stack([show(frame).to_ndarray() for frame in stored])


def main() -> None:
    flat = np.array(COLOURS, np.uint8).repeat(CELL, 0).reshape(1, 1, -1, 3).repeat(2 * CELL, 1)
    tiny = clips.render(clips.scene(5), 3)
    with tempfile.TemporaryDirectory() as folder:
        path, facts = Path(folder) / "a.mp4", constant_rate(FRAMES, 640, 1024, Fraction(24))
        encode(path, pictures(640, 1024, FRAMES), facts, Output(preset="draft"))
        for way in WAYS:
            back = there_and_back(flat, way)[0, CELL // 2 :: CELL, CELL // 2 :: CELL].astype(int)
            near_db = psnr(there_and_back(tiny, way), tiny)
            with path.open("rb") as file:
                found = probe(file)
                began_s = time.perf_counter()
                decode(file, found)
                speed = FRAMES / (time.perf_counter() - began_s)
            print(f"{way}: {speed:.0f} a second, {np.abs(back - COLOURS).max()} levels, {near_db:.1f} dB")


if __name__ == "__main__":
    main()
