"""Results as numbered pictures in a zip file: as one file, they are there as a whole or not at all."""

import contextlib
import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np

from evs_batch.media import mux
from evs_batch.media.files import open_video, video_stream
from evs_batch.media.mux import Written
from evs_batch.media.streams import tags
from evs_batch.spec.codecs import CODECS
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import UNSAID, VideoFacts

NAME = "{:08}.png"
TIMES, TRACKS, ABOUT = "timestamps.txt", "tracks.mkv", "about.json"
TIMES_HEAD = "# timestamp format v2"  # as mkvmerge reads it: a line for each frame, in milliseconds
MKV = Output(container="mkv")
_NEVER = (1980, 1, 1, 0, 0, 0)  # when a member was made: the same bytes at every run


def write(path: Path, frames_FHW3: np.ndarray, facts: VideoFacts, options: Output, source: BinaryIO | None) -> Written:
    """Write (F, H, W, 3) uint8 frames as PNG, their times, and the source's other tracks as a file of their own."""
    _, height, width, _ = frames_FHW3.shape
    with zipfile.ZipFile(path, "w") as out:
        for number, data in enumerate(_encoded(frames_FHW3, facts, options)):
            out.writestr(zipfile.ZipInfo(NAME.format(number), _NEVER), data)
        return _finished(out, path, height, width, facts, source)


def join(path: Path, parts: Iterable[BinaryIO], facts: VideoFacts, source: BinaryIO | None) -> Written:
    """Put the pictures of parts, in their order, into one file."""
    number, size = 0, (0, 0)
    with zipfile.ZipFile(path, "w") as out:
        for file in parts:
            with file, zipfile.ZipFile(file) as part:
                for name in sorted(name for name in part.namelist() if name.endswith(".png")):
                    out.writestr(zipfile.ZipInfo(NAME.format(number), _NEVER), data := part.read(name))
                    number, size = number + 1, _size(data)
        return _finished(out, path, *size, facts, source)


def _finished(
    out: zipfile.ZipFile, path: Path, height: int, width: int, facts: VideoFacts, source: BinaryIO | None
) -> Written:
    tracks_path = path.with_name(TRACKS)
    with (
        mux.created(tracks_path, facts.square(), MKV, source)
        if _others(facts, source)
        else contextlib.nullcontext() as target
    ):
        tracks = target.mux(iter(())) if target else []
        begin_s = target.begin_s if target else facts.pts[0] * facts.time_base
    times = [TIMES_HEAD, *(f"{float((pts * facts.time_base - begin_s) * 1000):.6f}" for pts in facts.pts)]
    out.writestr(zipfile.ZipInfo(TIMES, _NEVER), "\n".join(times) + "\n")
    if source and (about := _about(source, facts)):
        out.writestr(zipfile.ZipInfo(ABOUT, _NEVER), json.dumps(about, indent=1, ensure_ascii=False))
    if target:
        with tracks_path.open("rb") as written, out.open(zipfile.ZipInfo(TRACKS, _NEVER), "w") as member:
            shutil.copyfileobj(written, member)
    return Written(height=height, width=width, begin_s=begin_s, tracks=tracks)


def _about(source: BinaryIO, facts: VideoFacts) -> dict[str, Any]:
    """Tags of the file and of its pictures, its chapters in seconds, and what PNG does not say; what there is of them.

    Primaries and transfer are codes of H.273.
    """
    source.seek(0)
    with open_video(source) as file:
        chapters = [
            {side: float(chapter[side] * chapter["time_base"]) for side in ("start", "end")} | chapter["metadata"]
            for chapter in file.chapters()
        ]
        found = {"file": tags(file.metadata), "pictures": tags(video_stream(file).metadata), "chapters": chapters}
    _, primaries, transfer = facts.tags
    codes = {"primaries": primaries, "transfer": transfer}
    found |= {name: code for name, code in codes.items() if code != UNSAID}
    found |= {"pixel_aspect": str(facts.aspect)} if facts.aspect != 1 else {}
    return {name: value for name, value in found.items() if value}


def _others(facts: VideoFacts, source: BinaryIO | None) -> bool:
    return source is not None and any(track.copied for track in facts.tracks)


def _encoded(frames_FHW3: np.ndarray, facts: VideoFacts, options: Output) -> Iterator[bytes]:
    _, height, width, _ = frames_FHW3.shape
    encoder: Any = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, "rgb24", Fraction(1)
    encoder.sample_aspect_ratio = facts.aspect
    encoder.options = CODECS[options.codec].options(options.preset, options.quality)
    for picture_HW3 in frames_FHW3:
        for packet in encoder.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture_HW3), format="rgb24")):
            yield bytes(packet)


def _size(png: bytes) -> tuple[int, int]:
    """Height and width of a PNG."""
    return int.from_bytes(png[20:24]), int.from_bytes(png[16:20])
