"""Encode enhanced frames with the timestamps and the sound of their source."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from evs_batch.media.probe import VideoFacts, open_video
from evs_batch.spec.errors import EncodeError
from evs_batch.spec.recipe import Output

ENCODER_THREADS = 1  # one thread gives the same bytes everywhere
_MPEG_RANGE = int(ColorRange.MPEG)
PRESET = "medium"


def encode(path: Path, frames_FHW3: np.ndarray, facts: VideoFacts, options: Output, source: BinaryIO) -> None:
    """Write (F, H, W, 3) uint8 frames as an mp4 with the source's timestamps, pixel aspect, colour and audio."""
    try:
        with (
            open_video(source) as sound,
            av.open(str(path.absolute()), "w", format="mp4", options={"movflags": "+faststart"}) as out,
        ):
            video = _video_stream(out, frames_FHW3.shape, facts, options)
            tracks = {track.index: out.add_stream_from_template(track) for track in sound.streams.audio}
            for index, picture in enumerate(frames_FHW3):
                out.mux(video.encode(_frame(picture, index, facts, video)))
            out.mux(video.encode(None))
            _copy_packets(sound, out, tracks)
    except (av.FFmpegError, ValueError) as error:
        raise EncodeError("the result", f"cannot be written as mp4 ({error})", "see the message") from error


def _video_stream(out: Any, shape: tuple[int, ...], facts: VideoFacts, options: Output) -> Any:
    _, height, width, _ = shape
    video = out.add_stream("libx264", rate=facts.rate)
    video.width, video.height = width, height
    video.pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
    video.options = {"crf": str(options.quality), "preset": PRESET}
    video.time_base = video.codec_context.time_base = facts.time_base
    video.codec_context.sample_aspect_ratio = facts.aspect
    video.codec_context.thread_count = ENCODER_THREADS
    video.codec_context.colorspace = facts.matrix
    video.codec_context.color_range = _MPEG_RANGE
    return video


def _frame(picture_HW3: np.ndarray, index: int, facts: VideoFacts, video: Any) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture_HW3), format="rgb24")
    frame = rgb.reformat(format=video.pix_fmt, dst_colorspace=facts.matrix, dst_color_range=_MPEG_RANGE)
    frame.pts, frame.duration, frame.time_base = facts.pts[index], facts.durations[index], facts.time_base
    frame.colorspace, frame.color_range = facts.matrix, _MPEG_RANGE
    return frame


def _copy_packets(source: Any, out: Any, tracks: Mapping[int, Any]) -> None:
    """Audio as it is, packet for packet, on the source's own clock."""
    if not tracks:
        return
    for packet in source.demux([source.streams[index] for index in tracks]):
        if packet.dts is None:
            continue
        packet.stream = tracks[packet.stream.index]
        out.mux(packet)


def constant_rate(frames: int, height: int, width: int, rate: Fraction) -> VideoFacts:
    """Facts of a video that has no source: frames at a constant rate, standard-definition colour."""
    return VideoFacts(
        width=width, height=height, pts=tuple(i * rate.denominator for i in range(frames)),
        durations=(rate.denominator,) * frames, time_base=Fraction(1, rate.numerator), rate=rate,
        matrix=int(Colorspace.ITU601), full_range=False, aspect=Fraction(1),
    )  # fmt: skip
