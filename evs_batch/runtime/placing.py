"""Workers that Ray has been asked for and has not started yet."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray

from evs_batch.runtime import cluster
from evs_batch.runtime.actors import Share

PLACEMENT_S = 15.0  # a worker that has no process after so long waits for something
log = logging.getLogger("evs_batch")


@dataclass
class Placing:
    """`said` is why pools wait, once for each of them."""

    said: dict[str, str] = field(default_factory=dict)
    _waiting: dict[Any, tuple[str, str, float]] = field(default_factory=dict)

    def add(self, here: Any, worker: str, pool: str) -> None:
        """A worker is asked for; `here` answers as soon as it has a process."""
        self._waiting[here] = (worker, pool, time.monotonic())

    def drop(self, worker: str) -> None:
        """A worker is not wanted any more."""
        self._waiting = {ref: found for ref, found in self._waiting.items() if found[0] != worker}

    def look(self, shares: Mapping[str, Share]) -> None:
        """Say, once for a pool, what workers wait for that Ray does not start."""
        if not self._waiting:
            return
        placed, _ = ray.wait([*self._waiting], num_returns=len(self._waiting), timeout=0)
        self._waiting = {ref: worker for ref, worker in self._waiting.items() if ref not in placed}
        for _, pool, since_s in self._waiting.values():
            if time.monotonic() - since_s >= PLACEMENT_S and pool not in self.said:
                why = cluster.why_not_placed(shares[pool])
                self.said[pool] = f"workers of the pool '{pool}' are not placed: {why}"
                log.warning("%s", self.said[pool])
