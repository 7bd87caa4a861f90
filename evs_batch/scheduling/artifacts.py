"""What the segments of clips in flight have made, or references to it, and for how long it is kept."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from evs_batch.spec.segments import Segments
from evs_batch.spec.work import Artifact, Stage, Unit


@dataclass
class _Clip:
    """What a clip has, by segment, and there by name and the stage that made it; how far each segment is and goes."""

    segments: Segments
    ends: Sequence[int]
    held: dict[int, dict[tuple[Artifact, int], Any]] = field(default_factory=lambda: defaultdict(dict))
    done: dict[int, int] = field(default_factory=dict)


class Artifacts:
    """Arrays or references by segment and name; what no later call needs is dropped, which frees the memory."""

    def __init__(self, path: Sequence[Stage]) -> None:
        self._path, self._clips = path, dict[str, _Clip]()
        self._place = {stage.name: at for at, stage in enumerate(path)}

    def begin(self, clip: str, segments: Segments, ends: Sequence[int]) -> None:
        """Take a clip in, or again from its beginning; `ends` are those of `Segments.ends`."""
        self._clips[clip] = _Clip(segments, ends)

    def inputs(self, stage: Stage, units: Sequence[Unit]) -> list[Any]:
        """What a call needs: unit by unit, for each segment that it looks at, name by name."""
        return list(self._inputs(stage, units)) if stage.needs else []

    def _inputs(self, stage: Stage, units: Sequence[Unit]) -> Iterator[Any]:
        for unit in units:
            clip = self._clips[unit.clip]
            for lender, _ in clip.segments.seen(stage, unit.segment):
                for name in stage.needs:
                    yield clip.held[lender][name, self._maker(name, self._place[stage.name])]

    def keep(self, stage: Stage, unit: Unit, given: Sequence[Any]) -> None:
        """Take what a finished call gave for a segment, and drop what was needed for it alone."""
        clip, at = self._clips.get(unit.clip), self._place[stage.name]
        if clip is None:
            return
        clip.held[unit.segment].update({(name, at): made for name, made in zip(stage.gives, given, strict=True)})
        clip.done[unit.segment] = at
        for lender in clip.segments.lenders(stage, unit.segment):
            held = clip.held[lender]
            clip.held[lender] = {key: made for key, made in held.items() if self._needed(clip, lender, *key)}

    def drop(self, clip: str) -> None:
        """Forget a finished clip."""
        self._clips.pop(clip, None)

    def held(self, clip: str) -> set[tuple[int, Artifact]]:
        """Segments and names of what a clip has."""
        held = self._clips[clip].held if clip in self._clips else {}
        return {(segment, name) for segment, made in held.items() for name, _ in made}

    def _maker(self, name: Artifact, reader: int) -> int:
        """The stage whose version of an artifact a later one reads."""
        return max(at for at in range(reader) if name in self._path[at].gives)

    def _needed(self, clip: _Clip, segment: int, name: Artifact, made_at: int) -> bool:
        """Whether a segment that looks at this one has still to pass a stage that reads the artifact."""
        for at in range(made_at + 1, len(self._path)):
            stage = self._path[at]
            borrowers = reversed(clip.segments.borrowers(stage, segment))  # the last one is the last to be done
            if name in stage.needs and any(clip.done.get(k, -1) < at < clip.ends[k] for k in borrowers):
                return True
            if name in stage.gives:
                return False
        return False
