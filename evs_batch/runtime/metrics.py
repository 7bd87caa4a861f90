"""A run as Prometheus sees it, through Ray's metrics; Ray puts `ray_` before every name."""

import time
from collections import Counter as Count
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

from evs_batch.runtime.actors import CallMeta, WorkerMeta
from evs_batch.scheduling.state import State
from evs_batch.spec.work import Stage

CALL_SECONDS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]
EVERY_S = 2.0


class Metrics:
    """All metrics of a run; the dashboard in `cluster/grafana.json` shows them."""

    def __init__(self) -> None:
        self._clips = Counter("evs_clips_total", "clips that are committed", ("status", "error_type"))
        self._frames = Counter("evs_frames_total", "frames that have passed a stage", ("stage",))
        self._busy = Counter("evs_busy_seconds_total", "time of calls", ("stage", "pool"))
        self._bytes = Counter("evs_artifact_bytes_total", "what calls have given to later stages", ("stage",))
        self._call = Histogram("evs_call_seconds", "time of a call", CALL_SECONDS, ("stage",))
        self._load = Histogram("evs_load_seconds", "time to load the models of a role", CALL_SECONDS, ("role",))
        self._segments = Gauge("evs_segments", "segments at a stage", ("stage", "waiting"))
        self._workers = Gauge("evs_workers", "workers by the roles that they hold", ("roles",))
        self._admitted = Gauge("evs_admitted_bytes", "memory that is promised to clips in flight", ("of",))
        self._looked_s, self._roles = 0.0, set[str]()

    def call(self, stage: Stage, worker: str, frames: int, meta: CallMeta) -> None:
        """Take a finished call."""
        seconds, of_stage = meta.ended_s - meta.started_s, {"stage": stage.name}
        _add(self._frames, frames, of_stage)
        _add(self._bytes, meta.bytes, of_stage)
        _add(self._busy, seconds, {**of_stage, "pool": worker.rpartition("-")[0]})
        self._call.observe(seconds, of_stage)

    def load(self, meta: WorkerMeta) -> None:
        """Take a finished load."""
        self._load.observe(meta.load_s, {"role": meta.role})

    def commit(self, error_type: str | None) -> None:
        """Take a clip that has ended."""
        _add(self._clips, 1, {"status": "failed" if error_type else "success", "error_type": error_type or ""})

    def look(self, state: State) -> None:
        """Now and then, take what is in flight."""
        if time.monotonic() - self._looked_s < EVERY_S:
            return
        self._looked_s = time.monotonic()
        for at, stage in enumerate(state.policy.path):
            blocked = state.blocked_at[at]
            self._segments.set(state.units_at[at] - blocked, {"stage": stage.name, "waiting": "false"})
            self._segments.set(blocked, {"stage": stage.name, "waiting": "true"})
        held = Count("+".join(sorted(worker.held)) for worker in state.crew.all.values() if worker.up)
        self._roles |= held.keys()
        for roles in self._roles:
            self._workers.set(held[roles], {"roles": roles})
        self._admitted.set(state.admitted_bytes, {"of": "admitted"})
        self._admitted.set(state.policy.budget_bytes, {"of": "budget"})


def _add(counter: Any, amount: float, tags: dict[str, str]) -> None:
    if amount > 0:  # Ray refuses nothing
        counter.inc(amount, tags)
