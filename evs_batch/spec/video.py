"""What is known of a video before it is decoded."""

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

BT601, BT709 = 5, 1  # matrices, as H.273 counts them
UNSAID = 2
_SINGLE = {"pts", "durations", "time_base", "rate", "stamped"}
_ROUNDED_S = 0.0011  # what a clock of milliseconds makes of a constant rate
PQ, HLG = 16, 18  # transfers of H.273 that are HDR


@dataclass(frozen=True, kw_only=True)
class Track:
    """A stream of a file beside its pictures: sound, subtitles, a font, a cover, a time code.

    `start_s` and `duration_s` are on the file's clock, 0 where it does not say them; `copied`: the result has it, too.
    """

    index: int
    kind: str
    codec: str
    language: str
    start_s: float
    duration_s: float
    copied: bool


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """The first video stream of a file, as it is displayed.

    `pts` and `durations` are in display order, in units of `time_base` seconds, and as the file has them where it is
    `stamped`; `rotation` is in degrees, counter-clockwise, after a picture is `mirrored`, and already in `width`,
    `height` and `aspect`. `codec` and `pixel_format` are FFmpeg's names of what is stored; `matrix`, `full_range` and
    `bits` are stored, too. `matrix`, `primaries` and `transfer` are codes of H.273 (2: not said; of an untagged matrix,
    the one that is likely). `hidden` frames are stored, but an edit list does not show them. `tracks` is all else that
    the file holds, and `warnings` is what of it a result does not have.
    """

    width: int
    height: int
    pts: tuple[int, ...]
    durations: tuple[int, ...]
    time_base: Fraction
    rate: Fraction
    matrix: int
    full_range: bool
    aspect: Fraction
    codec: str = ""
    pixel_format: str = ""
    rotation: int = 0
    stamped: bool = True
    primaries: int = UNSAID
    transfer: int = UNSAID
    bits: int = 8
    mirrored: bool = False
    interlaced: bool = False
    alpha: bool = False
    hidden: int = 0
    chapters: int = 0
    tracks: tuple[Track, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def hdr(self) -> bool:
        return self.transfer in (PQ, HLG)

    @property
    def tags(self) -> tuple[int, int, int]:
        """Matrix, primaries and transfer of a result: the source's, but HDR is mapped to BT.709."""
        return (BT709, BT709, BT709) if self.hdr else (self.matrix, self.primaries, self.transfer)

    @property
    def frames(self) -> int:
        return len(self.pts)

    @property
    def fps(self) -> float:
        return float(self.rate)

    def summary(self) -> dict[str, Any]:
        """For people and JSON: all but the single timestamps; times are in seconds."""
        gaps_s = [float((b - a) * self.time_base) for a, b in pairwise(self.pts)]
        own = {name: value for name, value in vars(self).items() if name not in _SINGLE}
        return {
            "frames": self.frames, "start_s": float(self.pts[0] * self.time_base), "duration_s": self.duration_s,
            "fps": self.fps, "variable_rate": bool(gaps_s) and max(gaps_s) - min(gaps_s) > _ROUNDED_S,
            **own, "hdr": self.hdr, "aspect": str(self.aspect), "tracks": [vars(track) for track in self.tracks],
        }  # fmt: skip

    def part(self, frames: range) -> "VideoFacts":
        """The facts of some frames."""
        span = slice(frames.start, frames.stop)
        return replace(self, pts=self.pts[span], durations=self.durations[span])

    def from_zero(self) -> "VideoFacts":
        """The same frames on a clock that starts with the first one."""
        return replace(self, pts=tuple(pts - self.pts[0] for pts in self.pts))

    def square(self) -> "VideoFacts":
        """The same frames with square pixels."""
        return replace(self, aspect=Fraction(1))

    @property
    def duration_s(self) -> float:
        return float((self.pts[-1] + self.durations[-1] - self.pts[0]) * self.time_base)


def constant_rate(frames: int, height: int, width: int, rate: Fraction) -> VideoFacts:
    """Facts of a video that has no source: frames at a constant rate, standard-definition colour."""
    return VideoFacts(
        width=width, height=height, pts=tuple(i * rate.denominator for i in range(frames)),
        durations=(rate.denominator,) * frames, time_base=Fraction(1, rate.numerator), rate=rate,
        matrix=BT601, full_range=False, aspect=Fraction(1),
    )  # fmt: skip
