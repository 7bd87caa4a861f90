"""Who worked on what and when, for the run's stats."""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from evs_batch.runtime.actors import CallMeta
from evs_batch.spec.work import Stage, Unit

MAX_CALLS = 10_000


@dataclass
class Timeline:
    """Finished calls (the last 10,000) and sums over all of them; seconds count from `zero_s`."""

    zero_s: float
    calls: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MAX_CALLS))
    busy_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    clip_s: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))

    def add(self, stage: Stage, worker: str, frames: dict[Unit, int], meta: CallMeta) -> None:
        """Take a finished call; its time is shared among its clips by their frames."""
        seconds, total = meta.ended_s - meta.started_s, max(1, sum(frames.values()))
        self.busy_s[worker] += seconds
        for unit, count in frames.items():
            self.clip_s[unit.clip][stage.role] += seconds * count / total
        self.calls.append(
            {
                "stage": stage.name,
                "worker": worker,
                "start_s": round(meta.started_s - self.zero_s, 4),
                "end_s": round(meta.ended_s - self.zero_s, 4),
                "frames": sum(frames.values()),
                "clips": [unit.clip for unit in frames],
                "segments": [unit.segment for unit in frames],
            }
        )

    def take(self, clip: str) -> dict[str, float]:
        """Seconds by role that a finished clip has cost."""
        return self.clip_s.pop(clip, {})

    def overlap_s(self) -> float:
        """How long T2I and T2V calls ran at the same time."""
        return overlap_s(_spans(self.calls, "t2i"), _spans(self.calls, "t2v"))


def overlap_s(a: Sequence[tuple[float, float]], b: Sequence[tuple[float, float]]) -> float:
    """Length of the intersection of two unions of intervals."""
    left, right = deque(_union(a)), deque(_union(b))
    total = 0.0
    while left and right:
        total += max(0.0, min(left[0][1], right[0][1]) - max(left[0][0], right[0][0]))
        (left if left[0][1] < right[0][1] else right).popleft()
    return total


def _spans(calls: Iterable[dict[str, Any]], role: str) -> list[tuple[float, float]]:
    return [(call["start_s"], call["end_s"]) for call in calls if call["stage"].startswith(role)]


def _union(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
