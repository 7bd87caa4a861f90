"""A file that is written: pictures, and all else that its source has, on one clock."""

import contextlib
import errno
import heapq
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import imageio_ffmpeg

from evs_batch.media import streams
from evs_batch.media.files import open_video, video_stream
from evs_batch.media.streams import Copied
from evs_batch.spec.codecs import MUXERS
from evs_batch.spec.errors import EncodeError, MediaError
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import VideoFacts

INDEX_FIRST = "+faststart"  # for players that have not got all of the file


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a file was made of: the size of its pictures, the source's second at which it begins, all other tracks."""

    height: int
    width: int
    begin_s: Fraction
    tracks: list[Copied]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A new file, and its source, if there is one, whose second `begin_s` is its first."""

    out: Any
    source: Any
    facts: VideoFacts
    begin_s: Fraction

    @property
    def clock(self) -> int:
        """By how much timestamps of pictures are less than in the source."""
        return round(self.begin_s / self.facts.time_base)

    def mux(self, pictures: Iterator[Any], video: Any = None) -> list[Copied]:
        """Write all packets in the order in which they are decoded, and the tags of `video`; gives what was copied."""
        others, tracks = iter(()), list[Copied]()
        if self.source:
            others, tracks = streams.copy(self.source, self.facts, self.out, self.begin_s)
            if video:
                video.metadata.update(streams.tags(video_stream(self.source).metadata))
        for packet in heapq.merge(pictures, others, key=lambda packet: float(packet.dts * packet.time_base)):
            self.out.mux(packet)
        return tracks


@contextlib.contextmanager
def created(path: Path, facts: VideoFacts, options: Output, source: BinaryIO | None) -> Iterator[Target]:
    """A new file; raises EncodeError for what cannot be written."""
    with explained(options):
        begin_s = streams.begin_s(source, facts) if source else Fraction(0)
        with open_video(source) if source else contextlib.nullcontext() as opened:
            muxer, settings = MUXERS[options.container], streams.muxing(options.container, opened, INDEX_FIRST)
            with av.open(str(path.absolute()), "w", format=muxer, options=settings) as out:
                yield Target(out=out, source=opened, facts=facts, begin_s=begin_s)
        if options.container == "mkv" and facts.aspect != 1:
            _say_aspect(path, facts.aspect)


def _say_aspect(path: Path, aspect: Fraction) -> None:
    """Write a file once more with the width of its pixels, which PyAV cannot tell the muxer of mkv.

    Raises ValueError with what FFmpeg's program says, OSError for a full disk. Without a disposition it would choose
    which tracks are played by default.
    """
    again = path.with_name(f"{path.stem}.aspect{path.suffix}")
    with av.open(str(path.absolute())) as file:
        shown = Fraction(file.streams.video[0].width, file.streams.video[0].height) * aspect
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-copyts", "-i", str(path.absolute()),
        "-map", "0", "-c", "copy", "-disposition:v", "0", "-aspect", f"{shown.numerator}:{shown.denominator}",
        "-avoid_negative_ts", "disabled", "-fflags", "+bitexact", str(again.absolute()),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=False)
    said = done.stderr.decode(errors="replace").strip()
    if os.strerror(errno.ENOSPC) in said:
        raise OSError(errno.ENOSPC, said[-300:])
    if done.returncode:
        raise ValueError(said[-300:])
    again.replace(path)


@contextlib.contextmanager
def explained(options: Output) -> Iterator[None]:
    """FFmpeg's errors as EncodeError."""
    try:
        yield
    except (av.FFmpegError, ValueError, MediaError) as error:
        kind = f"{options.codec} in {options.container}"
        raise EncodeError("the result", f"cannot be written as {kind} ({error})", "see the message") from error
