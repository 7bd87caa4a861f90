"""How fast one core decodes, encodes and verifies, against the pipe of imageio-ffmpeg that other tools use."""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

from evs_batch.media.decode import decode
from evs_batch.media.encode import encode
from evs_batch.media.probe import probe
from evs_batch.media.verify import verify
from evs_batch.spec.codecs import CODECS, PRESETS
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import constant_rate

H200_FRAMES_PER_S = 16 / 4.88  # EVS at 640x1024, compiled: docs/performance.md
PEER = "imageio-ffmpeg"


def compare(
    height: int, width: int, frames: int, repeats: int, rate: float = H200_FRAMES_PER_S
) -> list[dict[str, Any]]:
    """A row for each thing to do: median frames per second of one core, and how many cores a GPU needs for it.

    All things are done by turns, `repeats` times. `rate` is how many frames a GPU enhances in a second.
    """
    with tempfile.TemporaryDirectory() as folder:
        todo = {**_ours(Path(folder), height, width, frames), **_peers(Path(folder), height, width, frames)}
        taken_s = {name: list[float]() for name in todo}
        for _ in range(repeats):
            for name, do in todo.items():
                began_s = time.perf_counter()
                do()
                taken_s[name].append(time.perf_counter() - began_s)
    rows = []
    for (system, part, codec, preset), times_s in taken_s.items():
        speed = frames / statistics.median(times_s)
        row = {"system": system, "part": part, "codec": codec, "preset": preset, "frames_per_s": speed}
        rows.append({**row, "cores_per_gpu": rate / speed})
    return rows


Todo = Mapping[tuple[str, str, str, str], Callable[[], Any]]


def _ours(folder: Path, height: int, width: int, frames: int) -> Todo:
    source_FHW3, facts = pictures(height, width, frames), constant_rate(frames, height, width, Fraction(24))
    source = folder / "source.mp4"
    encode(source, source_FHW3, facts, Output())

    def read() -> None:
        with source.open("rb") as file:
            found = probe(file)
            file.seek(0)
            decode(file, found)

    todo: dict[tuple[str, str, str, str], Callable[[], Any]] = {
        ("evs-batch", "decode", "h264", ""): read,
        ("evs-batch", "verify", "h264", ""): lambda: verify(source, facts),
    }
    for codec, preset, options in _options():
        out = folder / f"{codec}.{options.container}"
        todo["evs-batch", "encode", codec, preset] = partial(encode, out, source_FHW3, facts, options)
    return todo


def _options() -> Iterator[tuple[str, str, Output]]:
    for name, codec in CODECS.items():
        for number, preset in enumerate(PRESETS):
            if number == 1 or codec.presets[number] != codec.presets[1]:
                tree = {"codec": name, "container": codec.containers[0], "preset": preset}
                yield name, preset, Output.model_validate(tree)


def _peers(folder: Path, height: int, width: int, frames: int) -> Todo:
    """Pipes to and from ffmpeg's program, on one thread: timestamps, tracks and tags are lost on the way."""
    source, out = folder / "source.mp4", folder / "peer.mp4"
    pictures_FHW3 = pictures(height, width, frames)

    def read() -> None:
        reader = imageio_ffmpeg.read_frames(str(source), input_params=["-threads", "1"])
        next(reader)
        _ = [np.frombuffer(frame, np.uint8) for frame in reader]

    def write() -> None:
        settings = ["-crf", "14", "-preset", "medium", "-threads", "1"]
        writer = imageio_ffmpeg.write_frames(
            str(out), (width, height), fps=24, macro_block_size=1, output_params=settings
        )
        writer.send(None)
        for picture_HW3 in pictures_FHW3:
            writer.send(picture_HW3)
        writer.close()

    return {(PEER, "decode", "h264", ""): read, (PEER, "encode", "h264", "balanced"): write}


def pictures(height: int, width: int, frames: int) -> np.ndarray:
    """(F, H, W, 3) uint8: FFmpeg zooms into a fractal, which has details of all sizes."""
    fractal = f"mandelbrot=size={width}x{height}:rate=24"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", fractal,
        "-frames:v", str(frames), "-pix_fmt", "rgb24", "-f", "rawvideo", "-",
    ]  # fmt: skip
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(frames, height, width, 3)
