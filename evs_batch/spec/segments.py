"""How the frames of a clip are cut into segments, and which frames of other segments a stage looks at."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from evs_batch.spec.work import Stage


@dataclass(frozen=True)
class Segments:
    """The frames of a clip in `count` runs of nearly equal length; a short clip is one."""

    frames: int
    count: int = 1

    def span(self, number: int) -> range:
        """The frames of a segment."""
        return range(number * self.frames // self.count, (number + 1) * self.frames // self.count)

    def seen(self, stage: Stage, number: int) -> tuple[tuple[int, range], ...]:
        """What a stage reads for a segment: numbers of segments, and the frames that it reads of each."""
        own = self.span(number)
        wanted = range(max(0, own.start - stage.around), min(self.frames, own.stop + stage.around))
        first = ((0, range(1)),) if stage.first and number > 0 else ()
        near = range(self._of(wanted.start), self._of(wanted.stop - 1) + 1)
        return (*first, *((at, _common(self.span(at), wanted)) for at in near))

    def lenders(self, stage: Stage, number: int) -> set[int]:
        """The segments that must have come as far as `stage` before it can run for this one."""
        return {at for at, _ in self.seen(stage, number)}

    def borrowers(self, stage: Stage, number: int) -> range:
        """The segments that look at one in a stage: those that it looks at itself, but the first is everybody's."""
        if stage.first and number == 0:
            return range(self.count)
        own = self.span(number)
        near = max(0, own.start - stage.around), min(self.frames, own.stop + stage.around) - 1
        return range(self._of(near[0]), self._of(near[1]) + 1)

    def neighbours(self, stage: Stage) -> int:
        """How many segments on each side a stage looks at, at most."""
        return min(self.count - 1, -(-stage.around // (self.frames // self.count)))

    def ends(self, path: Sequence[Stage], done: Collection[int]) -> tuple[int, ...]:
        """How many stages of a path each segment must pass: all but the last, which is the clip's.

        Those that are `done` by an earlier run pass only as many as others need of them.
        """
        last = len(path) - 1
        ends = [0 if number in done else last for number in range(self.count)]
        for at in reversed(range(last)) if done else ():
            for number in [number for number, end in enumerate(ends) if end > at]:
                for lender in self.lenders(path[at], number):
                    ends[lender] = max(ends[lender], at)
        return tuple(ends)

    def _of(self, frame: int) -> int:
        """The segment of a frame."""
        return ((frame + 1) * self.count - 1) // self.frames


def cut(frames: int, longest: int) -> Segments:
    """As few segments as possible that are no longer than `longest`."""
    return Segments(frames, -(-frames // longest))


def _common(a: range, b: range) -> range:
    return range(max(a.start, b.start), min(a.stop, b.stop))
