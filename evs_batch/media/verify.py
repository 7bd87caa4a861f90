"""Read a finished file with a second, independent program before it is published."""

import math
import struct
import subprocess
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg

from evs_batch.media import pictures, streams
from evs_batch.media.encoders import RGB
from evs_batch.media.mux import Written
from evs_batch.media.streams import Copied
from evs_batch.spec.errors import EncodeError
from evs_batch.spec.video import UNSAID, VideoFacts

TIMEOUT_S = 600
TIMEOUT_OF_FRAME_S = 1  # more than any picture takes that we write
TOLERANCE_S = 0.002  # of times: mkv counts milliseconds
MKV_ASPECT = 1 / 200  # by which FFmpeg rounds pixel aspects in mkv
HEADER_BYTES = 1024  # of mp4 and mov that hold their length: the index comes first


def verify(path: Path, facts: VideoFacts, written: Written | None = None) -> None:
    """Decode everything with ffmpeg's own program, and compare it to what was written.

    Raises EncodeError unless all frames come out without an error at their times, and all tracks are there.
    """
    try:
        _verify(path, facts, written)
    except (zipfile.BadZipFile, av.FFmpegError, struct.error) as error:
        raise EncodeError("the encoded file", f"must be readable ({error})", "try again") from error


def _verify(path: Path, facts: VideoFacts, written: Written | None) -> None:
    if path.suffix == ".zip":
        folder = path.with_suffix(".unpacked")
        with zipfile.ZipFile(path) as packed:
            packed.extractall(folder)
        found_s = _frames_s(folder / pictures.NAME.replace("{:08}", "%08d"), facts.frames)
        _check_count(len(found_s), facts.frames)
        begin_s = written.begin_s if written else facts.pts[0] * facts.time_base
        stamps = (folder / pictures.TIMES).read_text().splitlines()[1:]
        _check_times([float(line) / 1000 for line in stamps], _times_s(facts, begin_s))
        tracks = folder / pictures.TRACKS
    else:
        begin_s = written.begin_s if written else Fraction(0)
        _check_times(_frames_s(path, facts.frames), _times_s(facts, begin_s))
        _check_length(path, facts, alone=not written or not written.tracks)
        tracks = path
        if written:
            _check_picture(path, facts, written)
    if written and (written.tracks or path.suffix != ".zip"):
        _check_tracks(tracks, written.tracks)


def _times_s(facts: VideoFacts, begin_s: Fraction) -> list[float]:
    return [float(pts * facts.time_base - begin_s) for pts in facts.pts]


def _frames_s(path: Path, frames: int) -> list[float]:
    """When each frame is shown; raises EncodeError for a file with an error in it."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-xerror", "-nostdin", "-threads", "1",
        "-protocol_whitelist", "file,pipe", "-copyts", "-i", str(path.absolute()),
        "-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "demux", "-f", "framecrc", "-",
    ]  # fmt: skip
    limit_s = TIMEOUT_S + frames * TIMEOUT_OF_FRAME_S
    try:
        done = subprocess.run(command, capture_output=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise EncodeError(
            f"the encoded file of {frames} frames", f"must decode within {limit_s} s", "try again on a faster machine"
        ) from error
    lines = done.stdout.decode().splitlines()
    base = next((Fraction(line.split()[-1]) for line in lines if line.startswith("#tb 0:")), Fraction(0))
    found_s = [float(int(line.split(",")[2]) * base) for line in lines if not line.startswith("#")]
    complaint = done.stderr.decode(errors="replace").strip()[-300:]
    _check(
        done.returncode == 0, f"the encoded file has {len(found_s)} of {frames} frames",
        f"must decode completely ({complaint or 'no message'})",
    )  # fmt: skip
    return found_s


def _check_count(found: int, frames: int) -> None:
    _check(found == frames, f"the encoded file has {found} of {frames} frames", "must have all")


def _check_times(found_s: list[float], expected_s: list[float]) -> None:
    _check_count(len(found_s), len(expected_s))
    apart_s, frame = max((abs(a - b), at) for at, (a, b) in enumerate(zip(found_s, expected_s, strict=True)))
    what = f"frame {frame} of the encoded file is {apart_s:.3f} s late or early"
    _check(apart_s <= TOLERANCE_S, what, "must be in time")


def _check_length(path: Path, facts: VideoFacts, alone: bool) -> None:
    """How long pictures are shown; tracks beside them may be longer."""
    length_s = _length_s(path)
    right = -TOLERANCE_S <= length_s - facts.duration_s <= (TOLERANCE_S if alone else math.inf)
    _check(right, f"the encoded file is {length_s:.3f} s of {facts.duration_s:.3f} s", "must be as long")


def _length_s(path: Path) -> float:
    """As the header has it; that of mp4 is read here, as FFmpeg takes times of decoding and may lose the last frame."""
    if path.suffix != ".mkv":
        with path.open("rb") as file:
            _, _, header = file.read(HEADER_BYTES).partition(b"mvhd")
        wide = header[:1] == b"\1"
        scale, duration = struct.unpack(">IQ" if wide else ">II", header[20:32] if wide else header[12:20])
        return duration / scale
    with av.open(str(path.absolute()), metadata_errors="replace") as file:
        return (file.duration or 0) / av.time_base


def _check_picture(path: Path, facts: VideoFacts, written: Written) -> None:
    """What a player is told of the pictures. A container may have no code for primaries or transfer, or room for all
    chapters."""
    with av.open(str(path.absolute()), metadata_errors="replace") as file:
        stream, chapters = file.streams.video[0], len(file.chapters())
        video: Any = stream.codec_context
        aspect = stream.sample_aspect_ratio or Fraction(1)
    matrix, primaries, transfer = facts.tags
    for what, found, wanted in (
        ("size", f"{video.width}x{video.height}", f"{written.width}x{written.height}"),
        ("matrix", matrix if video.pix_fmt in RGB else int(video.colorspace), matrix),
        ("primaries", int(video.color_primaries) if video.color_primaries != UNSAID else primaries, primaries),
        ("transfer", int(video.color_trc) if video.color_trc != UNSAID else transfer, transfer),
    ):
        _check(found == wanted, f"{what} of the encoded file: {found}", f"must be {wanted}")
    rounded = MKV_ASPECT if path.suffix == ".mkv" else 0
    _check(
        abs(aspect / facts.aspect - 1) <= rounded, f"pixel aspect of the encoded file: {aspect}",
        f"must be {facts.aspect}",
    )  # fmt: skip
    _check(
        bool(chapters) == bool(facts.chapters), f"the encoded file has {chapters} chapters", "must have the source's"
    )


def _check_tracks(path: Path, expected: list[Copied]) -> None:
    """That every track that was copied is there, in time from its first to its last packet, with the same bytes."""
    with av.open(str(path.absolute()), metadata_errors="replace") as file:
        found = streams.contents(file)
    _check(len(found) == len(expected), f"the encoded file has {len(found)} of {len(expected)} tracks", "must have all")
    for number, track in enumerate(expected):
        what = f"{track.kind} track {number + 1} of the encoded file"
        _check(number < len(found) and found[number].kind == track.kind, what, "must be there")
        copy = found[number]
        apart_s = abs((copy.begin_s or 0) - (track.begin_s or 0))
        _check(apart_s <= TOLERANCE_S, f"{what} is {apart_s:.3f} s late or early", "must be in time")
        if track.wrapped:  # the same packets, of other bytes; elsewhere a container may divide the same bytes anew
            _check(
                copy.packets == track.packets, f"{what} has {copy.packets} of {track.packets} packets", "must have all"
            )
            continue
        same = (copy.size_bytes, copy.crc) == (track.size_bytes, track.crc)
        _check(same, f"{what} has {copy.size_bytes} bytes of {track.size_bytes}", "must be the source's")


def _check(true: bool, value: str, rule: str) -> None:
    if not true:
        raise EncodeError(value, rule, "try again")
