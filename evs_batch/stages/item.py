"""What passes between stages."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from evs_batch.scheduling.events import Size
from evs_batch.spec.segments import Segments
from evs_batch.spec.video import VideoFacts
from evs_batch.spec.work import Artifact, Clip, Stage

Arrays = Mapping[Artifact, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One segment of a clip in one call; its facts are known from the probe on.

    `output` is where the clip's result goes, `parts` the folder for the files of its segments; `budget_bytes` is what a
    clip may take of memory.
    """

    clip: Clip
    facts: VideoFacts | None
    output: str
    segments: Segments = Segments(1)
    number: int = 0
    parts: str = ""
    budget_bytes: int = 0

    @property
    def known(self) -> VideoFacts:
        assert self.facts is not None, "only the probe comes without facts"
        return self.facts

    @property
    def own(self) -> range:
        """The frames of the segment, as numbered in the clip."""
        return self.segments.span(self.number)

    def rows(self, stage: Stage) -> list[int]:
        """Frame numbers of the rows of a stage's inputs: those of the segment, and others that it looks at."""
        return [frame for _, frames in self.segments.seen(stage, self.number) for frame in frames]


def assemble(stage: Stage, item: Item, arrays: Iterator[np.ndarray]) -> Arrays:
    """The inputs of an item from those of its segments, which come as `Segments.seen` names them, name by name."""
    found: dict[Artifact, list[np.ndarray]] = {name: [] for name in stage.needs}
    for lender, frames in item.segments.seen(stage, item.number) if stage.needs else ():
        start = item.segments.span(lender).start
        for name in stage.needs:
            found[name].append(next(arrays)[frames.start - start : frames.stop - start])
    return {name: parts[0] if len(parts) == 1 else np.concatenate(parts) for name, parts in found.items()}


def own_rows(items: Sequence[Item], stage: Stage, rows: Any) -> list[Any]:
    """What a stage made of all rows of a call, item by item and without the frames of other segments."""
    found, at = [], 0
    for item in items:
        frames = item.rows(stage)
        own = at + frames.index(item.own.start)
        found.append(rows[own : own + len(item.own)])
        at += len(frames)
    return found


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What a probe has found: the video, how it is cut and what that needs, and the folder of its parts."""

    facts: VideoFacts
    size: Size
    parts: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a stage made of one item: arrays for later stages, what the scheduler needs, and the output row.

    `exact` says that it was computed in fp32 after it had come out with NaN or infinity. `forward_frames` are those of
    a T2I forward pass, fewer than the recipe's where so many did not fit.
    """

    arrays: Arrays
    probed: Probed | None = None
    row: Mapping[str, Any] | None = None
    exact: bool = False
    forward_frames: int | None = None


class StageRunner(Protocol):
    """A loaded worker of one role."""

    def run(self, stage: Stage, items: list[Item], inputs: list[Arrays]) -> list[Result]: ...
