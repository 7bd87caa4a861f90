"""What is known of a video before it is decoded."""

from dataclasses import dataclass, replace
from fractions import Fraction

BT601 = 5  # as FFmpeg's scaler counts matrices
UNSAID = 2


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """The first video stream of a file, as it is displayed.

    `pts` and `durations` are in display order, in units of `time_base` seconds, and as the file has them where it is
    `stamped`; `rotation` is in degrees, counter-clockwise, and already in `width`, `height` and `aspect`.
    `primaries` and `transfer` are codes of H.273 (2: not said).
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
    rotation: int = 0
    stamped: bool = True
    primaries: int = UNSAID
    transfer: int = UNSAID

    @property
    def frames(self) -> int:
        return len(self.pts)

    @property
    def fps(self) -> float:
        return float(self.rate)

    def part(self, frames: range) -> "VideoFacts":
        """The facts of some frames."""
        span = slice(frames.start, frames.stop)
        return replace(self, pts=self.pts[span], durations=self.durations[span])

    def from_zero(self) -> "VideoFacts":
        """The same frames on a clock that starts with the first one."""
        return replace(self, pts=tuple(pts - self.pts[0] for pts in self.pts))

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
