"""What a video file holds: all packet headers, and one decoded frame for the displayed orientation."""

import contextlib
import struct
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from typing import Any, BinaryIO

import av
from av.stream import Disposition
from av.video.reformatter import ColorRange, Colorspace

from evs_batch.spec.errors import MediaError
from evs_batch.spec.video import VideoFacts

MAX_PIXELS = 8192 * 8192
_DEMUX = {
    # A file object needs no protocol at all, and playlists are not videos.
    "protocol_whitelist": "none",
    "format_whitelist": "mov,mp4,matroska,webm,avi,mpegts,gif,flv,mpeg,ogg,h264,hevc",
}
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}  # H.273 codes to those of swscale; 5 and 6 are the same matrix
_HD_HEIGHT_PX = 720
MUXERS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska"}
OR_MKV = ", or set output.container = 'mkv', which holds more"
DECLARING = {"matroska", "webm", "flv"}  # containers whose header says when the last of their streams ends
TAIL_S = 1  # that may be missing at most: headers are rounded, and some writers forget the last frames


def open_video(file: BinaryIO) -> Any:
    """Open a container for reading with network and playlists off; raises MediaError."""
    try:
        return av.open(file, options=dict(_DEMUX), metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaError(
            "the file", f"is not a video that can be opened ({_reason(error)})", "check it with a player"
        ) from error


def video_stream(container: Any) -> Any:
    """The first video stream that is no cover picture; raises MediaError if there is none."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise MediaError("the file", "has no video stream", "remove the row or replace the file")


def probe(file: BinaryIO, container: str = "mp4") -> VideoFacts:
    """Read a file's packet headers and its first frame; raises MediaError for what cannot be enhanced.

    `container` is the one of the result, which must be able to hold the sound.
    """
    with contextlib.ExitStack() as opened:
        source = opened.enter_context(open_video(file))
        stream = video_stream(source)
        context = stream.codec_context
        if context is None:
            raise MediaError("the video", "is in an unknown codec", "convert it to H.264")
        if not 0 < context.width * context.height <= MAX_PIXELS:
            raise MediaError(
                f"{context.width}x{context.height} pixels", f"must be 1 to {MAX_PIXELS}", "scale the video down"
            )
        stamps = _stamps(source, stream)
        source = _rewound(source, file, opened)
        rotation = _rotation(source)
        _check_audio(_rewound(source, file, opened), container)
        rate = _rate(stream)
        pts, durations = _timeline(stamps, stream.time_base, rate)
        aspect, width, height = Fraction(stream.sample_aspect_ratio or 1), context.width, context.height
        if rotation % 180:
            aspect, width, height = 1 / aspect, height, width
        return VideoFacts(
            width=width, height=height, pts=pts, durations=durations, time_base=stream.time_base, rate=rate,
            matrix=_matrix(context), full_range=int(context.color_range) == ColorRange.JPEG, aspect=aspect,
            rotation=rotation, stamped=_complete(stamps) and not _out_of_order(stamps, context),
            primaries=int(context.color_primaries), transfer=int(context.color_trc),
        )  # fmt: skip


def _stamps(container: Any, stream: Any) -> list[tuple[int | None, int]]:
    """Timestamp and duration of every shown packet; packets before a trim point are decoded but not shown."""
    packets, declared_s, end_s = list[tuple[int | None, int, bool]](), _declared_s(container, stream), Fraction(0)
    try:
        for packet in container.demux() if declared_s else container.demux(stream):
            if packet.size and packet.stream is stream:
                packets.append((packet.pts, packet.duration or 0, packet.is_discard))
            if packet.size and packet.pts is not None:
                end_s = max(end_s, (packet.pts + (packet.duration or 0)) * packet.time_base)
    except (av.FFmpegError, IndexError) as error:
        raise MediaError("the file", f"is damaged ({_reason(error)})", "replace it") from error
    if "mov" in container.format.name and len(packets) < stream.frames:
        raise _truncated(f"{len(packets)} frames", f"{stream.frames}")
    if end_s < declared_s - max(2 / _rate(stream), min(TAIL_S, declared_s / 10)):
        raise _truncated(f"{float(end_s):.2f} seconds", f"{float(declared_s):.2f}")
    shown = [(pts, duration) for pts, duration, discarded in packets if not discarded]
    if not shown:
        raise MediaError("the file", "has no frames", "replace it")
    return shown


def _declared_s(container: Any, stream: Any) -> Fraction:
    """How long all of the file is by its own header; 0 where it does not say so."""
    kinds = set(container.format.name.split(","))
    if "avi" in kinds:
        return stream.frames / _rate(stream)
    return Fraction(container.duration or 0, av.time_base) if kinds & DECLARING else Fraction(0)


def _rate(stream: Any) -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _truncated(found: str, declared: str) -> MediaError:
    return MediaError(found, f"the file declares {declared}: it is truncated", "fetch it again")


def _timeline(
    stamps: list[tuple[int | None, int]], time_base: Fraction, rate: Fraction
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Stored timestamps; the nominal rate from the first one on where they are incomplete."""
    known = sorted((pts, duration) for pts, duration in stamps if pts is not None)
    if not _complete(stamps):
        first = known[0][0] if known else 0
        pts = tuple(first + round(index / (rate * time_base)) for index in range(len(stamps) + 1))
        return pts[:-1], tuple(b - a for a, b in pairwise(pts))
    gaps = [b[0] - a[0] for a, b in pairwise(known)]
    last = known[-1][1] or (gaps[-1] if gaps else round(1 / (rate * time_base)))
    return tuple(pts for pts, _ in known), (*gaps, last)


def _complete(stamps: list[tuple[int | None, int]]) -> bool:
    """Whether every packet has a timestamp of its own."""
    return len({pts for pts, _ in stamps if pts is not None}) == len(stamps)


def _out_of_order(stamps: list[tuple[int | None, int]], context: Any) -> bool:
    """Whether frames are decoded out of their order, but stamped in it: such stamps belong to other frames."""
    pts = [stamp for stamp, _ in stamps if stamp is not None]
    return bool(context.has_b_frames) and pts == sorted(pts)


def _rewound(container: Any, file: BinaryIO, opened: contextlib.ExitStack) -> Any:
    """The container at its beginning, opened again where it cannot go back (flv whose first frame is late)."""
    try:
        container.seek(0)
    except av.FFmpegError:
        file.seek(0)
        return opened.enter_context(open_video(file))
    return container


def _rotation(container: Any) -> int:
    """Degrees of the display matrix, from the first frame; raises MediaError if it is not a right angle."""
    try:
        frame = next(container.decode(video_stream(container)), None)
    except av.FFmpegError:
        return 0  # decoding will say what is wrong
    if frame and _mirrored(frame):
        raise MediaError("a mirroring display matrix", "is not supported", "mirror the pixels instead")
    rotation = (frame.rotation if frame else 0) % 360
    if rotation % 90:
        raise MediaError(f"a rotation of {rotation} degrees", "must be a right angle", "rotate the pixels instead")
    return rotation


def _mirrored(frame: Any) -> bool:
    """Whether the display matrix (nine 16.16 fixed-point numbers) turns left into right."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = struct.unpack("<5i", bytes(data)[:20])
            return a * d - b * c < 0
    return False


def _check_audio(source: Any, container: str) -> None:
    """Sound is copied, so it must fit the result; better known now than after all the work."""
    for stream, packet in _first_sound(source).items():
        try:
            with av.open(BytesIO(), "w", format=MUXERS[container]) as result:
                copy = result.add_stream_from_template(stream)
                if packet:
                    packet.stream = copy
                    result.mux(packet)
        except (av.FFmpegError, ValueError) as error:
            raise MediaError(
                f"audio in {_codec(stream)}", f"cannot be copied into {container} ({_reason(error)})",
                f"convert the sound to AAC{'' if container == 'mkv' else OR_MKV}",
            ) from error  # fmt: skip


def _first_sound(container: Any) -> dict[Any, Any]:
    if not container.streams.audio:
        return {}
    try:
        return first_packets(container)
    except (av.FFmpegError, IndexError) as error:
        raise MediaError("the sound", f"is damaged ({_reason(error)})", "replace the file") from error


def _codec(stream: Any) -> str:
    return stream.codec_context.name if stream.codec_context else "an unknown codec"


def first_packets(container: Any) -> dict[Any, Any]:
    """The next audio packet of every track, None where there is none."""
    firsts: dict[Any, Any] = dict.fromkeys(container.streams.audio)
    for packet in sound_packets(container):
        firsts[packet.stream] = firsts[packet.stream] or packet
        if all(firsts.values()):
            break
    return firsts


def sound_packets(container: Any) -> Iterator[Any]:
    """All audio packets of a container, in its order."""
    tracks = [*container.streams.audio]
    return (packet for packet in (container.demux(tracks) if tracks else ()) if packet.dts is not None)


def _matrix(context: Any) -> int:
    """The tagged colour matrix; an untagged file is taken for BT.709 in HD and for BT.601 below."""
    guess = Colorspace.ITU709 if context.height >= _HD_HEIGHT_PX else Colorspace.ITU601
    return _MATRICES.get(int(context.colorspace), int(guess))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
