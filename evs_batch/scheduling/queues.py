"""What is ready to be done: segments by stage, picture size and, where a worker has the file open, that worker."""

from bisect import bisect_left, insort
from collections import defaultdict
from typing import NamedTuple

from evs_batch.spec.work import Unit

LOOKED_AT = 32  # segments behind the oldest one that may fill a call up


class Key(NamedTuple):
    """Segments that can share a call; `reader` is the only worker that may take them, if there is one."""

    shape: tuple[int, int] = (0, 0)
    reader: str = ""


class Queue:
    """Segments of one kind, the oldest clip first."""

    def __init__(self) -> None:
        self.frames = 0
        self._entries: list[tuple[int, Unit, int]] = []

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def oldest(self) -> Unit:
        return self._entries[0][1]

    def put(self, order: int, unit: Unit, frames: int) -> None:
        insort(self._entries, (order, unit, frames))
        self.frames += frames

    def fill(self, limit_frames: int, *, longest: bool = False) -> tuple[Unit, ...]:
        """Take the oldest segment, or the `longest` one, and those behind it that fit a call of so many frames."""
        order = list(range(min(len(self._entries), LOOKED_AT)))
        if longest:
            order.sort(key=lambda at: -self._entries[at][2])
        taken, room = order[:1], limit_frames - self._entries[order[0]][2]
        for at in order[1:]:
            if room <= 0:
                break
            if self._entries[at][2] <= room:
                taken.append(at)
                room -= self._entries[at][2]
        units = tuple(self._entries[at][1] for at in taken)
        for at in sorted(taken, reverse=True):
            self._remove(at)
        return units

    def drop(self, order: int, clip: str) -> None:
        """Take a clip out."""
        at = bisect_left(self._entries, (order,))
        while at < len(self._entries) and self._entries[at][1].clip == clip:
            self._remove(at)

    def empty(self) -> list[Unit]:
        """Take all."""
        units = [unit for _, unit, _ in self._entries]
        self._entries, self.frames = [], 0
        return units

    def _remove(self, at: int) -> None:
        self.frames -= self._entries.pop(at)[2]


class Queues:
    """All queues, by stage."""

    def __init__(self) -> None:
        self._queues: dict[int, dict[Key, Queue]] = defaultdict(dict)

    def put(self, at: int, key: Key, order: int, unit: Unit, frames: int) -> None:
        self._queues[at].setdefault(key, Queue()).put(order, unit, frames)

    def at(self, stage: int) -> list[tuple[Key, Queue]]:
        """The queues of a stage that hold something, and no others are kept."""
        queues = self._queues[stage]
        if not all(queues.values()):
            self._queues[stage] = queues = {key: queue for key, queue in queues.items() if queue}
        return list(queues.items())

    def frames(self, stage: int) -> int:
        return sum(queue.frames for queue in self._queues[stage].values())

    def drop(self, order: int, clip: str) -> None:
        """Take a clip out wherever it is."""
        for queues in self._queues.values():
            for queue in queues.values():
                queue.drop(order, clip)

    def orphans(self, reader: str) -> list[Unit]:
        """Take out what only one worker could do."""
        return [
            unit
            for queues in self._queues.values()
            for key, queue in queues.items()
            if key.reader == reader
            for unit in queue.empty()
        ]
