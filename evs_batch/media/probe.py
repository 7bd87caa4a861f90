"""What a video file holds, from its packets alone: nothing is decoded."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, BinaryIO

import av
from av.stream import Disposition
from av.video.reformatter import ColorRange, Colorspace

from evs_batch.spec.errors import MediaError

MAX_PIXELS = 8192 * 8192
_DEMUX = {
    # A file object needs no protocol at all, and playlists are not videos.
    "protocol_whitelist": "none",
    "format_whitelist": "mov,mp4,matroska,webm,avi,mpegts,gif,flv,mpeg,ogg,h264,hevc",
}
_HD_HEIGHT_PX = 720


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """The first video stream of a file; `pts` and `durations` in units of `time_base` seconds, in display order."""

    width: int
    height: int
    pts: tuple[int, ...]
    durations: tuple[int, ...]
    time_base: Fraction
    rate: Fraction
    matrix: int
    full_range: bool
    aspect: Fraction

    @property
    def frames(self) -> int:
        return len(self.pts)

    @property
    def fps(self) -> float:
        return float(self.rate)

    @property
    def duration_s(self) -> float:
        return float((self.pts[-1] + self.durations[-1] - self.pts[0]) * self.time_base)


def open_video(file: BinaryIO) -> Any:
    """Open a container for reading with network and playlists off; raises MediaError."""
    try:
        return av.open(file, options=dict(_DEMUX), metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(
            "the file", f"is not a video that can be opened ({_reason(error)})", "check it with a player"
        ) from error


def video_stream(container: Any) -> Any:
    """The first video stream that is no cover picture; raises MediaError if there is none."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise MediaError("the file", "has no video stream", "remove the row or replace the file")


def probe(file: BinaryIO) -> VideoFacts:
    """Read all packet headers of a file; raises MediaError for what cannot be enhanced."""
    with open_video(file) as container:
        stream = video_stream(container)
        context = stream.codec_context
        if not 0 < context.width * context.height <= MAX_PIXELS:
            raise MediaError(
                f"{context.width}x{context.height} pixels", f"must be 1 to {MAX_PIXELS}", "scale the video down"
            )
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        try:
            stamps = [(p.pts, p.duration or 0) for p in container.demux(stream) if p.size]
        except av.FFmpegError as error:
            raise MediaError("the file", f"is damaged ({_reason(error)})", "replace it") from error
        if not stamps:
            raise MediaError("the file", "has no frames", "replace it")
        if stream.frames and stream.frames != len(stamps):
            raise MediaError(
                f"{len(stamps)} frames", f"the file declares {stream.frames}: it is truncated", "fetch it again"
            )
        pts, durations, time_base = _timeline(stamps, stream.time_base, rate)
        return VideoFacts(
            width=context.width, height=context.height, pts=pts, durations=durations, time_base=time_base, rate=rate,
            matrix=_matrix(context), full_range=int(context.color_range) == ColorRange.JPEG,
            aspect=Fraction(stream.sample_aspect_ratio or 1),
        )  # fmt: skip


def _timeline(stamps: list, time_base: Fraction, rate: Fraction) -> tuple[tuple[int, ...], tuple[int, ...], Fraction]:
    """Stored timestamps; the nominal rate where a container has none."""
    if any(pts is None for pts, _ in stamps) or len({pts for pts, _ in stamps}) < len(stamps):
        return tuple(range(len(stamps))), (1,) * len(stamps), 1 / rate
    ordered = sorted(stamps)
    gaps = [b[0] - a[0] for a, b in pairwise(ordered)]
    last = ordered[-1][1] or (gaps[-1] if gaps else round(1 / (rate * time_base)))
    return tuple(pts for pts, _ in ordered), (*gaps, last), time_base


def _matrix(context: Any) -> int:
    """The tagged colour matrix; an untagged file is taken for BT.709 in HD and for BT.601 below."""
    if int(context.colorspace) in (
        Colorspace.ITU709,
        Colorspace.BT2020,
        Colorspace.SMPTE240M,
        Colorspace.FCC,
        Colorspace.ITU601,
    ):
        return int(context.colorspace)
    tagged_601 = int(context.colorspace) == 6  # SMPTE 170M, the same matrix as ITU601
    return int(Colorspace.ITU709 if context.height >= _HD_HEIGHT_PX and not tagged_601 else Colorspace.ITU601)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
