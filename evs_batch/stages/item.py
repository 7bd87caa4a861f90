"""What passes between stages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from evs_batch.media.probe import VideoFacts
from evs_batch.spec.work import Artifact, Clip, Stage

Arrays = Mapping[Artifact, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One clip in one call; its facts are known from the probe on."""

    clip: Clip
    facts: VideoFacts | None
    output: str

    @property
    def known(self) -> VideoFacts:
        assert self.facts is not None, "only the probe comes without facts"
        return self.facts


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a stage made of one item: arrays for later stages, facts for the scheduler and the output row."""

    arrays: Arrays
    facts: VideoFacts | None = None
    row: Mapping[str, Any] | None = None


class StageRunner(Protocol):
    """A loaded worker of one role."""

    def run(self, stage: Stage, items: list[Item], inputs: list[Arrays]) -> list[Result]: ...
