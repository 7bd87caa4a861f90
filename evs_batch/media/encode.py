"""Encode enhanced frames with the timestamps and the sound of their source: at once, or in parts that are joined."""

import contextlib
import heapq
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.video.reformatter import ColorRange

from evs_batch.media.probe import MUXERS, first_packets, open_video, sound_packets, video_stream
from evs_batch.spec.codecs import CODECS
from evs_batch.spec.errors import EncodeError, MediaError, RecipeError
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import VideoFacts

ENCODER_THREADS = 1  # one thread gives the same bytes everywhere
RGB = {"bgr0"}
os.environ.setdefault("SVT_LOG", "1")  # errors only: it writes its settings for every file


def encode(
    path: Path, frames_FHW3: np.ndarray, facts: VideoFacts, options: Output, source: BinaryIO | None = None
) -> None:
    """Write (F, H, W, 3) uint8 frames with the source's timestamps, pixel aspect, colour and sound."""
    with _written(path, facts, options, source) as (out, begin_s, sound):
        video = _video_stream(out, frames_FHW3.shape, facts, options)
        clock = round(begin_s / facts.time_base)
        _mux(out, _pictures(frames_FHW3, facts, video, clock), _sound(sound, out, begin_s))


def join(
    path: Path, parts: Iterable[BinaryIO], facts: VideoFacts, options: Output, source: BinaryIO
) -> tuple[int, int]:
    """Put the parts of a video, each encoded on its own, into one file; gives its height and width in pixels.

    Parts are closed one after the other. Raises EncodeError for parts that do not fit together.
    """
    files = iter(parts)
    with next(files) as first, _written(path, facts, options, source) as (out, begin_s, sound):
        with open_video(first) as part:
            video = out.add_stream_from_template(video_stream(part), opaque=True)  # AV1 has a decoder of another name
            video.time_base = facts.time_base
            size = video.codec_context.height, video.codec_context.width
        clock = round(begin_s / facts.time_base)
        held_back = CODECS[options.codec].held_back
        _mux(out, _moved(chain([first], files), facts, video, held_back, clock), _sound(sound, out, begin_s))
        return size


def _moved(files: Iterable[BinaryIO], facts: VideoFacts, video: Any, held_back: int, clock: int) -> Iterator[Any]:
    """The packets of all parts with the video's timestamps: in a part, they only say which frame a packet is.

    A packet is decoded when a frame is shown that is as many earlier as the encoder holds back.
    """
    number = 0
    early = facts.pts[min(held_back, facts.frames - 1)] - facts.pts[0]
    for file in files:
        file.seek(0)
        with file, open_video(file) as part:
            stream, first = video_stream(part), number
            if stream.codec_context.extradata != video.codec_context.extradata:
                raise ValueError("a part has other settings of the encoder than the first one")
            packets = [packet for packet in part.demux(stream) if packet.size]
            rank = {pts: at for at, pts in enumerate(sorted(packet.pts for packet in packets))}
            for packet in packets:
                frame = first + rank[packet.pts]
                packet.pts, packet.duration = facts.pts[frame] - clock, facts.durations[frame]
                begun = number >= held_back
                packet.dts = (facts.pts[number - held_back] if begun else facts.pts[number] - early) - clock
                packet.stream, packet.time_base = video, facts.time_base
                number += 1
                yield packet


@contextlib.contextmanager
def _written(
    path: Path, facts: VideoFacts, options: Output, source: BinaryIO | None
) -> Iterator[tuple[Any, Fraction, Any]]:
    """A new file, the second at which all tracks begin, and the container that its sound comes from.

    Raises EncodeError for what cannot be written.
    """
    try:
        begin_s = _begin_s(source, facts) if source else Fraction(0)
        with (
            open_video(source) if source else contextlib.nullcontext() as sound,
            av.open(str(path.absolute()), "w", format=MUXERS[options.container], options=_muxing(options)) as out,
        ):
            yield out, begin_s, sound
    except (av.FFmpegError, ValueError, MediaError) as error:
        kind = f"{options.codec} in {options.container}"
        raise EncodeError("the result", f"cannot be written as {kind} ({error})", "see the message") from error


def _muxing(options: Output) -> dict[str, str]:
    """Where the index is, for players that have not got all of the file; sound before zero moves nothing."""
    if options.container == "mkv":
        return {"avoid_negative_ts": "disabled", "fflags": "+bitexact"}  # else a file gets a number of its own
    return {"movflags": "+faststart"}


def _mux(out: Any, pictures: Iterator[Any], sound: Iterator[Any]) -> None:
    for packet in heapq.merge(pictures, sound, key=_time_s):
        out.mux(packet)


def _pictures(frames_FHW3: np.ndarray, facts: VideoFacts, video: Any, clock: int) -> Iterator[Any]:
    for index, picture_HW3 in enumerate(frames_FHW3):
        frame = _frame(picture_HW3, index, facts, video)
        frame.pts = facts.pts[index] - clock
        yield from video.encode(frame)
    yield from video.encode(None)


def _begin_s(source: BinaryIO, facts: VideoFacts) -> Fraction:
    """A clock that starts late (transport streams) would be shown as a blank beginning; all tracks are moved alike."""
    with open_video(source) as container:
        firsts = [packet for packet in first_packets(container).values() if packet]
    source.seek(0)
    return max(Fraction(0), min([facts.pts[0] * facts.time_base, *(p.dts * p.time_base for p in firsts)]))


def _sound(source: Any, out: Any, begin_s: Fraction) -> Iterator[Any]:
    """Audio packets as they are, on tracks of `out`, read as they are asked for."""
    if source is None:
        return iter(())
    tracks = {track.index: out.add_stream_from_template(track) for track in source.streams.audio}
    return (_shifted(packet, tracks[packet.stream.index], begin_s) for packet in sound_packets(source))


def _shifted(packet: Any, track: Any, begin_s: Fraction) -> Any:
    """A packet on another track, whose clock starts later."""
    shift = round(begin_s / packet.time_base)
    packet.stream = track
    packet.dts -= shift
    packet.pts = packet.dts if packet.pts is None else packet.pts - shift
    return packet


def _time_s(packet: Any) -> float:
    return float(packet.dts * packet.time_base)


def _video_stream(out: Any, shape: tuple[int, ...], facts: VideoFacts, options: Output) -> Any:
    _, height, width, _ = shape
    codec = CODECS[options.codec]
    video = out.add_stream(codec.encoder, rate=facts.rate)
    video.width, video.height = width, height
    video.pix_fmt = pixel_format(options, height, width)
    video.options = codec.options(options.preset, options.quality)
    video.time_base = video.codec_context.time_base = facts.time_base
    video.codec_context.sample_aspect_ratio = facts.aspect
    video.codec_context.thread_count = ENCODER_THREADS
    _tag(video.codec_context, facts, video.pix_fmt)
    return video


def pixel_format(options: Output, height: int, width: int) -> str:
    """The recipe's, or where a side is odd the one of the codec that has a colour for each pixel.

    Raises RecipeError for pictures that the codec does not take.
    """
    codec = CODECS[options.codec]
    if min(height, width) < codec.least_px:
        raise RecipeError(
            f"{options.codec} of {width}x{height} pixels", f"must have sides of {codec.least_px} pixels or more",
            "choose another output.codec",
        )  # fmt: skip
    wanted = options.pixel_format or codec.pixels[0]
    whole = wanted.replace("420", "444").replace("422", "444")
    if wanted == whole or (width % 2 == 0 and (height % 2 == 0 or "422" in wanted)):
        return wanted
    if whole not in codec.pixels:
        raise RecipeError(
            f"{options.codec} of {width}x{height} pixels", "must have even sides", "choose another output.codec"
        )
    return whole


def _tag(of: Any, facts: VideoFacts, pixel_format: str) -> None:
    """Say what the colours of a frame or an encoder mean, as its source does."""
    of.color_primaries, of.color_trc = facts.primaries, facts.transfer
    if pixel_format not in RGB:
        of.colorspace, of.color_range = facts.matrix, ColorRange.MPEG


def _frame(picture_HW3: np.ndarray, index: int, facts: VideoFacts, video: Any) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture_HW3), format="rgb24")
    if video.pix_fmt in RGB:
        frame = rgb.reformat(format=video.pix_fmt)
    else:
        frame = rgb.reformat(format=video.pix_fmt, dst_colorspace=facts.matrix, dst_color_range=int(ColorRange.MPEG))
    frame.duration, frame.time_base = facts.durations[index], facts.time_base
    _tag(frame, facts, video.pix_fmt)
    return frame
