"""What a video file holds: all packet headers, and a few decoded frames: the displayed orientation, fields, alpha."""

import contextlib
import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any, BinaryIO

import av
from av.video.reformatter import ColorRange, Colorspace

from evs_batch.media import streams
from evs_batch.media.files import MAX_PIXELS, open_video, reason, video_stream
from evs_batch.spec.errors import MediaError
from evs_batch.spec.recipe import Input, Output
from evs_batch.spec.video import UNSAID, VideoFacts

_RESERVED = {0, 3}
_READABLE = {1, 4, 5, 6, 7, 9}  # matrices by their codes in H.273
_UNREADABLE = {8: "YCgCo", 10: "BT.2020 with constant luminance", 11: "YDzDx", 14: "ICtCp"}  # as RGB, by swscale
_HD_HEIGHT_PX = 720
Stamps = list[tuple[int | None, int]]  # timestamp and duration of each frame
_FIELDS = range(2, 6)  # FFmpeg's field orders of interlaced streams
_DECLARING = {"matroska", "webm", "flv"}  # containers whose header says when the last of their streams ends
OPAQUE, BITS = 255, 8
_LOOKED_AT = (0.25, 0.5, 0.75)  # of the frames, besides the first: a video may begin without fields, or opaque
_TAIL_S = 1  # that may be missing at most: headers are rounded, and some writers forget the last frames


def probe(file: BinaryIO, output: Output = Output(), accepted: Input = Input()) -> VideoFacts:
    """Read a file's packet headers and its first frame; raises MediaError for what cannot be enhanced.

    Nor for what `accepted` refuses, or for tracks that must be in the `output` and do not fit.
    """
    with contextlib.ExitStack() as opened:
        source = opened.enter_context(open_video(file))
        stream = video_stream(source)
        context = stream.codec_context
        _check(context)
        stamps, hidden = _stamps(source, stream)
        source = _rewound(source, file, opened)
        frame = _next_frame(source)
        later = [_frame_at(source, share, stamps) for share in _LOOKED_AT]
        stamped = _complete(stamps) and not _out_of_order(stamps, context)
        stamps, lost = _without_leading(stamps, frame) if stamped else (stamps, 0)
        shown = _shown(frame, [frame, *later], stream)
        source = _rewound(source, file, opened)
        tracks, left_out = streams.look(source, video_stream(source), output.container, output.unfit == "refuse")
        pts, durations = _timeline(stamps, stream.time_base, _rate(stream))
        aspect, width, height = Fraction(stream.sample_aspect_ratio or 1), context.width, context.height
        if shown["rotation"] % 180:
            aspect, width, height = 1 / aspect, height, width
        facts = VideoFacts(
            width=width, height=height, pts=pts, durations=durations, time_base=stream.time_base, rate=_rate(stream),
            matrix=_matrix(context), full_range=int(context.color_range) == ColorRange.JPEG, aspect=aspect,
            codec=context.name, pixel_format=context.pix_fmt or "",
            stamped=stamped, primaries=_said(context.color_primaries),
            transfer=_said(context.color_trc), hidden=hidden, chapters=len(source.chapters()), tracks=tracks, **shown,
        )  # fmt: skip
    _check_accepted(facts, accepted)
    return replace(facts, warnings=(*_warnings(facts), *_lost(lost), *left_out))


def _check(context: Any) -> None:
    if context is None:
        raise MediaError("the video", "is in an unknown codec", "convert it to H.264")
    if not 0 < context.width * context.height <= MAX_PIXELS:
        raise MediaError(
            f"{context.width}x{context.height} pixels", f"must be 1 to {MAX_PIXELS}", "scale the video down"
        )
    if int(context.colorspace) in _UNREADABLE:
        raise MediaError(f"colours in {_UNREADABLE[int(context.colorspace)]}", "cannot be read", "convert to BT.709")


def _check_accepted(facts: VideoFacts, accepted: Input) -> None:
    for found, rule, key in (
        (facts.hdr, accepted.hdr, "hdr"),
        (facts.interlaced, accepted.interlaced, "interlaced"),
        (facts.bits > BITS and not facts.hdr, accepted.high_bit_depth, "high_bit_depth"),
    ):
        if found and rule == "refuse":
            what = f"{key.replace('_', ' ')} video"
            raise MediaError(what, f"is refused by input.{key}", f"set input.{key} to what is to be done")


def _warnings(facts: VideoFacts) -> list[str]:
    """What of the pictures a result will not have."""
    found = {
        "alpha channel is left out": facts.alpha,
        "HDR is mapped to BT.709": facts.hdr,
        "fields are made frames": facts.interlaced,
        f"models see {BITS} of {facts.bits} bits": facts.bits > BITS and not facts.hdr,
    }
    return [warning for warning, true in found.items() if true]


def _stamps(container: Any, stream: Any) -> tuple[Stamps, int]:
    """Timestamp and duration of every shown packet, and how many are not: those before a trim point."""
    packets, declared_s, end_s = list[tuple[int | None, int, bool]](), _declared_s(container, stream), Fraction(0)
    try:
        for packet in container.demux() if declared_s else container.demux(stream):
            if packet.size and packet.stream is stream:
                packets.append((packet.pts, packet.duration or 0, packet.is_discard))
            if packet.size and packet.pts is not None:
                end_s = max(end_s, (packet.pts + (packet.duration or 0)) * packet.time_base)
    except (av.FFmpegError, IndexError) as error:
        raise MediaError("the file", f"is damaged ({reason(error)})", "replace it") from error
    if "mov" in container.format.name and len(packets) < stream.frames:
        raise _truncated(f"{len(packets)} frames", f"{stream.frames}")
    if end_s < declared_s - max(2 / _rate(stream), min(_TAIL_S, declared_s / 10)):
        raise _truncated(f"{float(end_s):.2f} seconds", f"{float(declared_s):.2f}")
    shown = [(pts, duration) for pts, duration, discarded in packets if not discarded]
    if not shown:
        raise MediaError("the file", "has no frames", "replace it")
    return shown, len(packets) - len(shown)


def _declared_s(container: Any, stream: Any) -> Fraction:
    """How long all of the file is by its own header; 0 where it does not say so."""
    kinds = set(container.format.name.split(","))
    if "avi" in kinds:
        return stream.frames / _rate(stream)
    return Fraction(container.duration or 0, av.time_base) if kinds & _DECLARING else Fraction(0)


def _rate(stream: Any) -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _truncated(found: str, declared: str) -> MediaError:
    return MediaError(found, f"the file declares {declared}: it is truncated", "fetch it again")


def _timeline(stamps: Stamps, time_base: Fraction, rate: Fraction) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Stored timestamps, each later than the one before; the nominal rate from the first one on where some lack."""
    known = sorted((pts, duration) for pts, duration in stamps if pts is not None)
    if len(known) < len(stamps):
        first = known[0][0] if known else 0
        pts = tuple(first + round(index / (rate * time_base)) for index in range(len(stamps) + 1))
        return pts[:-1], tuple(b - a for a, b in pairwise(pts))
    pts = list(accumulate((stamp for stamp, _ in known), lambda before, stamp: max(before + 1, stamp)))
    gaps = [b - a for a, b in pairwise(pts)]
    last = known[-1][1] or (gaps[-1] if gaps else round(1 / (rate * time_base)))
    return tuple(pts), (*gaps, last)


def _complete(stamps: Stamps) -> bool:
    """Whether every packet has a timestamp of its own."""
    return len({pts for pts, _ in stamps if pts is not None}) == len(stamps)


def _out_of_order(stamps: Stamps, context: Any) -> bool:
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


def _next_frame(container: Any) -> Any:
    try:
        return next(container.decode(video_stream(container)), None)
    except av.FFmpegError:
        return None  # decoding will say what is wrong


def _frame_at(container: Any, share: float, stamps: Stamps) -> Any:
    """A frame about there, if the container can go there."""
    pts = stamps[int(share * len(stamps))][0]
    try:
        container.seek(pts or 0, stream=video_stream(container))
    except av.FFmpegError:
        return None
    return _next_frame(container)


def _without_leading(stamps: Stamps, frame: Any) -> tuple[Stamps, int]:
    """Without frames before the first that can be decoded: they need others, which were cut off (an open GOP)."""
    if frame is None or frame.pts is None:
        return stamps, 0
    kept = [(pts, duration) for pts, duration in stamps if pts is None or pts >= frame.pts]
    return kept, len(stamps) - len(kept)


def _lost(frames: int) -> list[str]:
    return [f"{frames} frames before the first key frame are left out: they cannot be decoded"] if frames else []


def _shown(frame: Any, some: Sequence[Any], stream: Any) -> dict[str, Any]:
    """Orientation and depth, of the first frame where there is one; whether some frames are fields, or transparent."""
    pixels = frame.format if frame else stream.codec_context.format
    parts = pixels.components if pixels else ()
    rotation, mirrored = _orientation(frame)
    return {
        "rotation": rotation,
        "mirrored": mirrored,
        "bits": max((part.bits for part in parts), default=BITS),
        "alpha": any(map(_is_transparent, some)) or stream.metadata.get("alpha_mode") == "1",
        "interlaced": any(f and f.interlaced_frame for f in some) or stream.codec_context.field_order in _FIELDS,
    }


def _is_transparent(frame: Any) -> bool:
    if frame is None or not any(part.is_alpha for part in frame.format.components):
        return False
    return bool(frame.reformat(format="rgba").to_ndarray()[..., 3].min() < OPAQUE)


def _orientation(frame: Any) -> tuple[int, bool]:
    """Degrees counter-clockwise, after mirroring left and right, of the display matrix (3x3 of fixed-point numbers).

    Raises MediaError if it is not a right angle.
    """
    matrices = [bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"] if frame else []
    if not matrices:
        return 0, False
    a, b, _, c, d = struct.unpack("<5i", matrices[0][:20])
    mirrored = a * d - b * c < 0
    angle = -math.degrees(math.atan2(-b, -a) if mirrored else math.atan2(b, a)) % 360
    if abs(angle - 90 * round(angle / 90)) > 1:
        raise MediaError(f"a rotation of {angle:.0f} degrees", "must be a right angle", "rotate the pixels instead")
    return 90 * round(angle / 90) % 360, mirrored


def _said(code: Any) -> int:
    """A code of primaries or transfer; reserved ones say nothing."""
    return UNSAID if int(code) in _RESERVED else int(code)


def _matrix(context: Any) -> int:
    """The tagged colour matrix; an untagged file is taken for BT.709 in HD and for BT.601 below."""
    guess = Colorspace.ITU709 if context.height >= _HD_HEIGHT_PX else Colorspace.ITU601
    return int(context.colorspace) if int(context.colorspace) in _READABLE else int(guess)
