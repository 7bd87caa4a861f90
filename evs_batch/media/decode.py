"""Decode a video to RGB, a run of frames at a time."""

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
import numpy as np

from evs_batch.media.cuts import BEFORE
from evs_batch.media.files import MAX_PIXELS, open_video, video_stream
from evs_batch.media.filters import deinterlaced, to_rgb, tone_mapped
from evs_batch.spec.errors import MediaError
from evs_batch.spec.video import VideoFacts

HDR_FRAMES = 8  # that are mapped at once
DECODER_THREADS = 1  # the default takes every core of the node
_INDEXED = {"mov", "matroska"}  # containers whose index leads to key frames exactly


def decode(file: BinaryIO, facts: VideoFacts) -> np.ndarray:
    """All frames as displayed, in display order: (F, H, W, 3) uint8; raises MediaError for damaged files."""
    with contextlib.closing(Reader(file, facts)) as reader:
        return reader.read(range(facts.frames))


class Reader:
    """An open video: runs of frames that follow each other are decoded once, others from a key frame on."""

    def __init__(self, file: BinaryIO, facts: VideoFacts) -> None:
        self.file, self._facts = file, facts
        self._to_rgb = to_rgb(facts.matrix, facts.full_range, "rgb48le" if facts.hdr else "rgb24")
        self._container: Any = None
        self._start(0)

    @property
    def pixels(self) -> int:
        """Of one picture."""
        return self._facts.width * self._facts.height

    def close(self) -> None:
        """Let the decoder go; the file stays open."""
        self._container.close()

    def approach(self, frame: int, before: int) -> list[np.ndarray]:
        """Be ready to read a frame; gives the ones before it, as many as asked for and there."""
        wanted = range(max(0, frame - before), frame)
        if frame != self._next or len(self._last) < len(wanted):
            self._last = [*self.read(wanted)]
        return [*self._last]

    def read(self, frames: range) -> np.ndarray:
        """Frames as displayed: (F, H, W, 3) uint8; raises MediaError for damaged files.

        With the last frame the end of the file is read, too: a frame too many is damage.
        """
        if frames.start != self._next:
            self._start(frames.start)
        facts = self._facts
        read_FHW3 = np.empty((len(frames), facts.height, facts.width, 3), np.uint8)
        at_once = HDR_FRAMES if facts.hdr else 1
        for at in range(0, len(frames), at_once):
            stored_FHW3 = [self._picture() for _ in frames[at : at + at_once]]
            read_FHW3[at : at + at_once] = (
                tone_mapped(np.stack(stored_FHW3), facts.transfer) if facts.hdr else stored_FHW3
            )
        if self._next == facts.frames and self._decoded() is not None:
            raise self._damaged("there are more frames than packets")
        self._last = [*self._last, *read_FHW3[-BEFORE:].copy()][-BEFORE:]
        return read_FHW3

    def _picture(self) -> np.ndarray:
        frame, facts = self._decoded(), self._facts
        if frame is None:
            raise self._damaged("it ends early")
        stored_HW3 = self._to_rgb(frame).to_ndarray()
        picture_HW3 = np.rot90(stored_HW3[:, ::-1] if facts.mirrored else stored_HW3, facts.rotation // 90)
        if frame.is_corrupt or picture_HW3.shape != (facts.height, facts.width, 3):
            raise self._damaged("a frame is corrupt or of another size")
        self._next += 1
        return picture_HW3

    def _decoded(self) -> av.VideoFrame | None:
        try:
            return next(self._pictures, None)
        except av.FFmpegError as error:
            raise self._damaged(str(error.strerror)) from error

    def _start(self, frame: int) -> None:
        """Be ready for a frame: by the container's index if it leads there, else by decoding all before it."""
        self._open()
        first = max(0, frame - 1) if self._facts.interlaced else frame
        indexed = self._facts.stamped and _INDEXED & set(self._container.format.name.split(","))
        if first and indexed and not self._advance_to(first):
            self._open()
        if self._facts.interlaced:
            self._pictures = deinterlaced(self._pictures)
        while self._next < frame:
            if self._decoded() is None:
                raise self._damaged("it ends early")
            self._next += 1

    def _open(self) -> None:
        if self._container is not None:
            self._container.close()
        self.file.seek(0)
        self._container = open_video(self.file)
        self._stream = video_stream(self._container)
        self._stream.codec_context.thread_count = DECODER_THREADS
        self._stream.codec_context.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "explode"}
        self._pictures: Iterator[av.VideoFrame] = self._container.decode(self._stream)
        self._next, self._last = 0, list[np.ndarray]()

    def _advance_to(self, frame: int) -> bool:
        """Decode from a key frame up to a frame; False if the file's index leads elsewhere."""
        wanted, before = self._facts.pts[frame], self._pictures
        try:
            self._container.seek(wanted, stream=self._stream)
            for found in before:
                if found.pts is None or found.pts > wanted:
                    return False
                if found.pts == wanted:
                    self._pictures, self._next = _chained(found, before), frame
                    return True
        except av.FFmpegError:
            pass
        return False

    def _damaged(self, reason: str) -> MediaError:
        return MediaError(
            f"frame {self._next} of {self._facts.frames}",
            f"cannot be decoded ({reason})",
            "replace the file or re-encode it",
        )


def _chained(first: av.VideoFrame, rest: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    yield first
    yield from rest
