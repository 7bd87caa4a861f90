"""What a run has cost and what it could have reached: sums over calls, by stage and by worker."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from evs_batch.runtime.actors import CallMeta
from evs_batch.scheduling.policy import Policy
from evs_batch.spec.work import Role, Stage

FULL_CALL = 0.75  # of the frames of a call: calls that are fuller than this show what a stage can do


@dataclass
class Sums:
    """Of the calls of a stage or a worker; `queued_s` to their start, `exact` clips of them computed again in fp32."""

    calls: int = 0
    frames: int = 0
    busy_s: float = 0.0
    queued_s: float = 0.0
    bytes: int = 0
    exact: int = 0

    def add(self, frames: int, meta: CallMeta, submitted_s: float) -> None:
        self.calls += 1
        self.frames += frames
        self.busy_s += meta.ended_s - meta.started_s
        self.queued_s += max(0.0, meta.started_s - submitted_s)
        self.bytes += meta.bytes
        self.exact += meta.exact


@dataclass
class Account:
    """Sums by stage, also of its full calls alone, and by worker; times are Unix seconds.

    `gap_s` is what passed on a worker between two calls of which the second had been submitted before the first ended,
    `memory_bytes` the most that a worker has held.
    """

    stages: dict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    full: dict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    workers: dict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    gap_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    memory_bytes: Counter[str] = field(default_factory=Counter)
    first_s: float = math.inf
    last_s: float = 0.0
    _most: Counter[str] = field(default_factory=Counter)
    _ended_s: dict[str, float] = field(default_factory=dict)

    def add(self, stage: Stage, worker: str, frames: int, meta: CallMeta, submitted_s: float) -> None:
        """Take a finished call."""
        before_s, self._ended_s[worker] = self._ended_s.get(worker, 0.0), meta.ended_s
        if submitted_s < before_s:
            self.gap_s[worker] += max(0.0, meta.started_s - before_s)
        self.stages[stage.name].add(frames, meta, submitted_s)
        self.workers[worker].add(frames, meta, submitted_s)
        self.memory_bytes[worker] = max(self.memory_bytes[worker], meta.memory_bytes)
        self._most[stage.name] = max(self._most[stage.name], frames)
        if frames > FULL_CALL * self._most[stage.name]:
            self.full[stage.name].add(frames, meta, submitted_s)
        if stage.role != "media":
            self.first_s, self.last_s = min(self.first_s, meta.started_s), max(self.last_s, meta.ended_s)

    def reached(self, policy: Policy) -> "Reached | None":
        """How much of what its workers allow a run has reached; None for a run without models."""
        if not self.last_s:
            return None
        elapsed_s = max(1e-9, self.last_s - self.first_s)
        needed_s: dict[Role, float] = defaultdict(float)
        for stage in policy.path:
            if full := self.full.get(stage.name):
                needed_s[stage.role] += self.stages[stage.name].frames * full.busy_s / max(1, full.frames)
        bounds = {name: sum(needed_s[role] for role in pool.roles) / pool.size for name, pool in policy.models.items()}
        bottleneck = max(bounds, key=lambda name: bounds[name])
        media = policy.pools.get("media")
        if media and needed_s["media"] / media.size > bounds[bottleneck]:
            bottleneck = "media"
        return Reached(fraction=min(1.0, max(bounds.values()) / elapsed_s), bottleneck=bottleneck)

    def as_dict(self, policy: Policy, elapsed_s: float) -> dict[str, Any]:
        """For JSON: by stage and by worker."""
        limits = {stage.name: policy.call_frames.get(stage.role, 0) for stage in policy.path}
        stages = {
            name: {
                **_figures(sums),
                "fill": round(sums.frames / (sums.calls * limits[name]), 3) if limits[name] else None,
            }
            for name, sums in self.stages.items()
        }
        workers = {
            name: {
                **_figures(sums),
                "idle_s": round(max(0.0, elapsed_s - sums.busy_s), 3),
                "gap_s": round(self.gap_s[name], 4),
            }
            for name, sums in self.workers.items()
        }
        return {"by_stage": stages, "by_worker": workers, "hand_off": round(self.hand_off(policy.models), 5)}

    def hand_off(self, pools: Collection[str]) -> float:
        """Gaps between the calls of workers of these pools, as a share of the time of the calls."""
        names = [name for name in self.workers if name.rpartition("-")[0] in pools]
        busy_s = sum(self.workers[name].busy_s for name in names)
        return sum(self.gap_s[name] for name in names) / max(1e-9, busy_s)


@dataclass(frozen=True, kw_only=True)
class Reached:
    """`fraction` of the bound: all frames in full calls, on all workers, without a pause."""

    fraction: float
    bottleneck: str


def _figures(sums: Sums) -> Mapping[str, Any]:
    return {
        "calls": sums.calls,
        "frames": sums.frames,
        "busy_s": round(sums.busy_s, 3),
        "queued_s": round(sums.queued_s, 3),
        "bytes": sums.bytes,
        "exact": sums.exact,
    }
