"""Encode enhanced frames with the timestamps and the sound of their source: at once, or in parts that are joined."""

import contextlib
import heapq
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.video.reformatter import ColorRange

from evs_batch.media.probe import first_packets, open_video, sound_packets, video_stream
from evs_batch.spec.errors import EncodeError, MediaError
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import VideoFacts

ENCODER_THREADS = 1  # one thread gives the same bytes everywhere
_MPEG_RANGE = int(ColorRange.MPEG)
PRESET = "medium"
REORDERED_FRAMES = 2  # that x264 holds back: three B-frames with a pyramid
# With AVX-512, x264's macroblock tree gives other bytes at every run, and other ones than with AVX2.
REPRODUCIBLE = "mbtree=0"


def encode(
    path: Path, frames_FHW3: np.ndarray, facts: VideoFacts, options: Output, source: BinaryIO | None = None
) -> None:
    """Write (F, H, W, 3) uint8 frames as an mp4 with the source's timestamps, pixel aspect, colour and sound."""
    with _written(path, facts, source) as (out, begin_s, sound):
        video = _video_stream(out, frames_FHW3.shape, facts, options)
        clock = round(begin_s / facts.time_base)
        _mux(out, _pictures(frames_FHW3, facts, video, clock), _sound(sound, out, begin_s))


def join(path: Path, parts: Iterable[BinaryIO], facts: VideoFacts, source: BinaryIO) -> tuple[int, int]:
    """Put the parts of a video, each encoded on its own, into one mp4; gives its height and width in pixels.

    Parts are closed one after the other. Raises EncodeError for parts that do not fit together.
    """
    files = iter(parts)
    with next(files) as first, _written(path, facts, source) as (out, begin_s, sound):
        with open_video(first) as part:
            video = out.add_stream_from_template(video_stream(part))
            video.time_base = facts.time_base
            size = video.codec_context.height, video.codec_context.width
        clock = round(begin_s / facts.time_base)
        _mux(out, _moved(chain([first], files), facts, video, clock), _sound(sound, out, begin_s))
        return size


def _moved(files: Iterable[BinaryIO], facts: VideoFacts, video: Any, clock: int) -> Iterator[Any]:
    """The packets of all parts with the video's timestamps; each part counts its own from zero.

    A packet is decoded when a frame is shown that is as many earlier as the encoder holds back.
    """
    number = 0
    duration_at = dict(zip(facts.pts, facts.durations, strict=True))  # parts lose those of the last frames
    early = facts.pts[min(REORDERED_FRAMES, facts.frames - 1)] - facts.pts[0]
    for file in files:
        file.seek(0)
        offset = facts.pts[number] - clock
        with file, open_video(file) as part:
            stream = video_stream(part)
            if stream.codec_context.extradata != video.codec_context.extradata:
                raise ValueError("a part has other settings of the encoder than the first one")
            scale = stream.time_base / facts.time_base
            for packet in part.demux(stream):
                if packet.size:
                    begun = number >= REORDERED_FRAMES
                    packet.pts = int(packet.pts * scale) + offset
                    packet.duration = duration_at[packet.pts + clock]
                    packet.dts = (facts.pts[number - REORDERED_FRAMES] if begun else facts.pts[number] - early) - clock
                    packet.stream, packet.time_base = video, facts.time_base
                    number += 1
                    yield packet


@contextlib.contextmanager
def _written(path: Path, facts: VideoFacts, source: BinaryIO | None) -> Iterator[tuple[Any, Fraction, Any]]:
    """A new mp4 file, the second at which all tracks begin, and the container that its sound comes from.

    Raises EncodeError for what cannot be written.
    """
    try:
        begin_s = _begin_s(source, facts) if source else Fraction(0)
        with (
            open_video(source) if source else contextlib.nullcontext() as sound,
            av.open(str(path.absolute()), "w", format="mp4", options={"movflags": "+faststart"}) as out,
        ):
            yield out, begin_s, sound
    except (av.FFmpegError, ValueError, MediaError) as error:
        raise EncodeError("the result", f"cannot be written as mp4 ({error})", "see the message") from error


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
    video = out.add_stream("libx264", rate=facts.rate)
    video.width, video.height = width, height
    video.pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
    video.options = {"crf": str(options.quality), "preset": PRESET, "x264-params": REPRODUCIBLE}
    video.time_base = video.codec_context.time_base = facts.time_base
    video.codec_context.sample_aspect_ratio = facts.aspect
    video.codec_context.thread_count = ENCODER_THREADS
    video.codec_context.colorspace = facts.matrix
    video.codec_context.color_range = _MPEG_RANGE
    return video


def _frame(picture_HW3: np.ndarray, index: int, facts: VideoFacts, video: Any) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture_HW3), format="rgb24")
    frame = rgb.reformat(format=video.pix_fmt, dst_colorspace=facts.matrix, dst_color_range=_MPEG_RANGE)
    frame.duration, frame.time_base = facts.durations[index], facts.time_base
    frame.colorspace, frame.color_range = facts.matrix, _MPEG_RANGE
    return frame
