"""Pictures to packets: the encoder of a recipe, and FFmpeg's program where it encodes."""

import contextlib
import errno
import logging
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
from av.video.reformatter import ColorRange

from evs_batch.media.filters import from_rgb
from evs_batch.spec.codecs import CODECS, MUXERS, Codec
from evs_batch.spec.errors import RecipeError
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import VideoFacts

log = logging.getLogger(__name__)
ENCODER_THREADS = 1  # one thread gives the same bytes everywhere
RGB = {"bgr0", "rgb24"}
os.environ.setdefault("SVT_LOG", "1")  # errors only: it writes its settings for every file

_QUALITY: Mapping[str, Mapping[str, str]] = {  # of hardware encoders, by the end of their names; frames in their order
    "nvenc": {"rc": "vbr", "cq": "{}", "bf": "0"},
    "qsv": {"global_quality": "{}", "bf": "0"},
}
_HARDWARE_LOSSY_TO = 51
_HARDWARE_PIXELS = {"yuv420p": "nv12", "yuv420p10le": "p010le"}  # the same samples in the order that hardware takes


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


def pick(options: Output) -> tuple[Codec, dict[str, str]]:
    """The codec with the encoder that is used here, and the encoder's options."""
    codec = CODECS[options.codec]
    found = _present(options.codec) if options.encoder == "hardware" else ""
    if not found:
        return codec, codec.options(options.preset, options.quality)
    quality = _QUALITY[found.rpartition("_")[2]]
    own = {name: value.format(min(options.quality, _HARDWARE_LOSSY_TO)) for name, value in quality.items()}
    return replace(codec, encoder=found, by_program=False), own


@cache
def _present(codec: str) -> str:
    """The first hardware encoder of a codec that encodes a picture on this machine, or nothing."""
    for name in CODECS[codec].hardware:
        try:
            encoder: Any = av.CodecContext.create(name, "w")
            encoder.width, encoder.height, encoder.time_base = 256, 256, Fraction(1, 25)
            encoder.pix_fmt = encoder.codec.video_formats[0].name
            encoder.encode(av.VideoFrame(256, 256, encoder.pix_fmt))
            encoder.encode(None)
            return name
        except (av.FFmpegError, ValueError):
            continue
    log.warning("this node has no hardware encoder for %s: it is encoded in software", codec)
    return ""


def add_stream(out: Any, shape: tuple[int, ...], facts: VideoFacts, options: Output) -> Any:
    """A stream of pictures (F, H, W, 3) of a file that is written."""
    codec, own = pick(options)
    _, height, width, _ = shape
    video = out.add_stream(codec.encoder, rate=facts.rate)
    video.width, video.height = width, height
    pixels = pixel_format(options, height, width)
    video.pix_fmt = _HARDWARE_PIXELS.get(pixels, pixels) if codec.encoder in codec.hardware else pixels
    video.options = own
    video.time_base = video.codec_context.time_base = facts.time_base
    video.codec_context.sample_aspect_ratio = facts.aspect
    video.codec_context.thread_count = ENCODER_THREADS
    tag(video.codec_context, facts, video.pix_fmt)
    name_codec(video.codec_context, options)
    return video


def name_codec(context: Any, options: Output) -> None:
    """The name that players look for, where it is not the muxer's usual one."""
    if options.container != "mkv" and (name := CODECS[options.codec].always.get("tag")):
        context.codec_tag = name


def packets(frames_FHW3: np.ndarray, facts: VideoFacts, video: Any, clock: int) -> Iterator[Any]:
    """Encoded pictures with the source's timestamps, on a clock that is late by `clock` units."""
    shown = dict(zip(facts.pts, facts.durations, strict=True))
    for packet in _encoded(frames_FHW3, facts, video, clock):
        packet.duration = shown[packet.pts + clock]  # encoders with frames in another order lose it
        yield packet


def _encoded(frames_FHW3: np.ndarray, facts: VideoFacts, video: Any, clock: int) -> Iterator[Any]:
    for index, frame in enumerate(_stored(frames_FHW3, facts, video.pix_fmt)):
        frame.duration, frame.time_base, frame.pts = facts.durations[index], facts.time_base, facts.pts[index] - clock
        yield from video.encode(frame)
    yield from video.encode(None)


def _stored(frames_FHW3: np.ndarray, facts: VideoFacts, pixels: str) -> Iterator[av.VideoFrame]:
    """Frames in the encoder's pixel format."""
    convert = from_rgb(facts.tags[0], pixels)
    for picture_HW3 in frames_FHW3:
        frame = convert(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture_HW3), format="rgb24"))
        tag(frame, facts, pixels)
        yield frame


def tag(of: Any, facts: VideoFacts, pixels: str) -> None:
    """Say what the colours of a frame or an encoder mean, as its source does."""
    matrix, of.color_primaries, of.color_trc = facts.tags
    if pixels not in RGB:
        of.colorspace, of.color_range = matrix, ColorRange.MPEG


def by_program(path: Path, frames_FHW3: np.ndarray, facts: VideoFacts, options: Output) -> None:
    """Encode with FFmpeg's program: a file whose packets are right, but not their times.

    Raises ValueError with what the program says, OSError for a full disk.
    """
    _, height, width, _ = frames_FHW3.shape
    pixels = pixel_format(options, height, width)
    numbered = replace(facts, pts=tuple(range(facts.frames)), durations=(1,) * facts.frames, time_base=1 / facts.rate)
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(_command(path, height, width, facts, options), stdin=subprocess.PIPE, stderr=said) as program,
    ):
        with contextlib.suppress(OSError), av.open(program.stdin, "w", format="nut") as out:  # it says itself why
            raw = out.add_stream("rawvideo", rate=facts.rate)
            raw.width, raw.height, raw.pix_fmt = width, height, pixels
            raw.time_base = raw.codec_context.time_base = numbered.time_base
            for packet in packets(frames_FHW3, numbered, raw, clock=0):
                out.mux(packet)
        program.communicate()
        said.seek(0)
        complaint = said.read().decode(errors="replace").strip()
        if os.strerror(errno.ENOSPC) in complaint:
            raise OSError(errno.ENOSPC, complaint[-300:])
        if program.returncode:
            raise ValueError(complaint[-300:])


def _command(path: Path, height: int, width: int, facts: VideoFacts, options: Output) -> list[str]:
    codec, own = pick(options)
    matrix, primaries, transfer = facts.tags
    own["x265-params"] += f":colormatrix={matrix}:colorprim={primaries}:transfer={transfer}:range=limited"
    return [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "nut", "-i", "-", "-c:v", codec.encoder,
        *(text for name, value in own.items() for text in (f"-{name}", value)),
        "-aspect", f"{facts.aspect * width / height}".replace("/", ":"), "-threads", str(ENCODER_THREADS),
        "-fps_mode", "passthrough", "-fflags", "+bitexact", "-flags:v", "+bitexact",
        "-f", MUXERS[options.container], str(path.absolute()),
    ]  # fmt: skip
