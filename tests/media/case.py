"""A kind of video file, as ffmpeg makes it, and what must become of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file: ffmpeg's arguments, with names of files that `make` knows in braces; several commands follow each other.

    `facts` are those of `VideoFacts` that the probe must find; `recipe` differs from `identity`; `refused` is what the
    error says, `warned` what the row does. `pixels` is false where ffmpeg itself does not show the same.
    """

    make: str
    name: str = "a.mp4"
    facts: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""
    warned: str = ""
    pixels: bool = True


def video(size: str = "98x66", rate: str = "25", seconds: float = 1, extra: str = "") -> str:
    return f"-f lavfi -i testsrc2=size={size}:rate={rate}:duration={seconds}{extra}"


SOUND = "-f lavfi -i sine=frequency=440:duration={}"
X264 = "-pix_fmt yuv420p -c:v libx264"
