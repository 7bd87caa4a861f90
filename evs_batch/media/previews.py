"""Small pictures and clips that show what became of a video."""

# F frames, H/W pixels

import contextlib
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation

from evs_batch.media.decode import Reader
from evs_batch.media.encode import encode
from evs_batch.media.probe import probe
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import VideoFacts

POSTER_PX = 1280  # wide at most
TALLEST_PX = 1280  # a picture of a source or of a result
TILE_PX, COLUMNS, TILES = 240, 4, 12
CLIP_PX, CLIP_FRAMES = 360, 120  # high, and long, at most
_GAP_PX = 4


class Pair:
    """A source and its result, of which frames are read; both as displayed, with square pixels."""

    def __init__(self, before: Reader, after: Reader, facts: VideoFacts) -> None:
        self._readers, self.facts = (before, after), facts

    def read(self, frame: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and result, both as large as the result would be that wide, or less, with even sides."""
        pictures = [reader.read(range(frame, frame + 1))[0] for reader in self._readers]
        height, full_width, _ = pictures[1].shape
        shown_width = full_width * float(self.facts.aspect)
        high = height * width / shown_width
        smaller = min(1.0, TALLEST_PX / high)
        size = _even(high * smaller), _even(width * smaller)
        before_HW3, after_HW3 = (_resized(picture_HW3, *size) for picture_HW3 in pictures)
        return before_HW3, after_HW3

    def width(self, height: int) -> int:
        """How wide a result is that is `height` pixels high."""
        return _even(height * self.facts.width * float(self.facts.aspect) / self.facts.height)


@contextlib.contextmanager
def opened(source: BinaryIO, facts: VideoFacts, result: Path) -> Iterator[Pair]:
    """A source and its finished result; raises MediaError."""
    with result.open("rb") as file:
        made = probe(file, Output(unfit="drop"))
        with contextlib.closing(Reader(source, facts)) as before, contextlib.closing(Reader(file, made)) as after:
            yield Pair(before, after, facts)


def poster(path: Path, pair: Pair) -> None:
    """A JPEG of the result's middle frame."""
    facts = pair.facts
    width = min(POSTER_PX, round(facts.width * float(facts.aspect)))
    path.write_bytes(_jpeg(pair.read(facts.frames // 2, width)[1]))


def sheet(path: Path, pair: Pair) -> None:
    """A JPEG of frames from all over the video, the source's above the result's."""
    count = min(TILES, pair.facts.frames)
    tiles = []
    for tile in range(count):
        before_HW3, after_HW3 = pair.read((2 * tile + 1) * pair.facts.frames // (2 * count), TILE_PX)
        tiles.append(np.pad(np.concatenate([before_HW3, after_HW3]), ((0, _GAP_PX), (0, _GAP_PX), (0, 0))))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    rows = [np.concatenate(tiles[at : at + COLUMNS], axis=1) for at in range(0, len(tiles), COLUMNS)]
    path.write_bytes(_jpeg(np.concatenate(rows)))


def side_by_side(path: Path, pair: Pair) -> None:
    """An mp4 of the first frames, the source on the left, without sound."""
    facts = pair.facts.part(range(min(CLIP_FRAMES, pair.facts.frames))).from_zero()
    width = pair.width(min(CLIP_PX, facts.height))
    frames_FHW3 = np.stack([np.concatenate(pair.read(frame, width), axis=1) for frame in range(facts.frames)])
    encode(path, frames_FHW3, facts.square(), Output(quality=20, preset="draft"))


KINDS: Mapping[str, tuple[str, Callable[[Path, Pair], None]]] = {
    "poster": ("poster.jpg", poster),
    "sheet": ("sheet.jpg", sheet),
    "side_by_side": ("side_by_side.mp4", side_by_side),
}


def _even(size: float) -> int:
    return max(2, 2 * round(size / 2))


def _resized(picture_HW3: np.ndarray, height: int, width: int) -> np.ndarray:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture_HW3), format="rgb24")
    return frame.reformat(width=width, height=height, format="rgb24", interpolation=Interpolation.AREA).to_ndarray()


def _jpeg(picture_HW3: np.ndarray) -> bytes:
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width, _ = picture_HW3.shape
    encoder.pix_fmt, encoder.time_base, encoder.color_range = "yuv420p", Fraction(1), ColorRange.JPEG
    encoder.options = {"qmin": "2", "qmax": "4"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture_HW3), format="rgb24")
    whole = frame.reformat(format="yuv420p", dst_color_range=ColorRange.JPEG)
    return b"".join(bytes(packet) for packet in (*encoder.encode(whole), *encoder.encode(None)))
