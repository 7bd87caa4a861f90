"""Who worked on what and when: the last calls one by one, and sums over all of them."""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from evs_batch.runtime.account import Account
from evs_batch.runtime.actors import CallMeta, WorkerMeta
from evs_batch.spec.work import Stage, Unit

MAX_CALLS = 10_000


@dataclass(frozen=True)
class Load:
    """A worker has loaded the models of a role; seconds count from the run's start."""

    worker: str
    role: str
    start_s: float
    end_s: float


@dataclass
class Timeline:
    """Finished calls (the last 10,000) and sums over all of them; seconds count from `zero_s`."""

    zero_s: float
    calls: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MAX_CALLS))
    loads: list[Load] = field(default_factory=list)
    account: Account = field(default_factory=Account)
    clip_s: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))

    def load(self, worker: str, meta: WorkerMeta) -> None:
        """Take a finished load of models."""
        end_s = meta.ended_s - self.zero_s
        self.loads.append(Load(worker, meta.role, end_s - meta.load_s, end_s))

    def add(self, stage: Stage, worker: str, frames: dict[Unit, int], meta: CallMeta, submitted_s: float) -> None:
        """Take a finished call; its time is shared among its clips by their frames."""
        seconds, total = meta.ended_s - meta.started_s, max(1, sum(frames.values()))
        for unit, count in frames.items():
            self.clip_s[unit.clip][stage.role] += seconds * count / total
        self.account.add(stage, worker, sum(frames.values()), meta, submitted_s)
        self.calls.append(
            {
                "stage": stage.name,
                "worker": worker,
                "submit_s": round(submitted_s - self.zero_s, 4),
                "start_s": round(meta.started_s - self.zero_s, 4),
                "end_s": round(meta.ended_s - self.zero_s, 4),
                "frames": sum(frames.values()),
                "bytes": meta.bytes,
                "clips": [unit.clip for unit in frames],
                "segments": [unit.segment for unit in frames],
            }
        )

    def take(self, clip: str) -> dict[str, float]:
        """Seconds by role that a finished clip has cost."""
        return self.clip_s.pop(clip, {})

    def trace(self) -> dict[str, Any]:
        """The calls in the format of Chrome's traces, which https://ui.perfetto.dev opens; microseconds."""
        workers = sorted({call["worker"] for call in self.calls} | {load.worker for load in self.loads})
        threads = {worker: number for number, worker in enumerate(workers, 1)}
        named = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": number, "args": {"name": worker}}
            for worker, number in threads.items()
        ]
        loads = [_slice(f"load {load.role}", threads[load.worker], load.start_s, load.end_s) for load in self.loads]
        calls = [
            _slice(
                call["stage"], threads[call["worker"]], call["start_s"], call["end_s"],
                {"frames": call["frames"], "clips": call["clips"], "waited_s": call["start_s"] - call["submit_s"]},
            )
            for call in self.calls
        ]  # fmt: skip
        return {"displayTimeUnit": "ms", "traceEvents": [*named, *loads, *calls]}

    def overlap_s(self) -> float:
        """How long T2I and T2V calls ran at the same time."""
        return overlap_s(_spans(self.calls, "t2i"), _spans(self.calls, "t2v"))


def _slice(name: str, thread: int, start_s: float, end_s: float, args: dict[str, Any] | None = None) -> dict[str, Any]:
    microseconds = {"ts": round(start_s * 1e6), "dur": round((end_s - start_s) * 1e6)}
    return {"ph": "X", "name": name, "pid": 1, "tid": thread, **microseconds, "args": args or {}}


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
