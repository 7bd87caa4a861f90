"""What a run may use, and how patient it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from evs_batch.spec.work import Role, Stage


@dataclass(frozen=True)
class Pool:
    """Workers of one kind: how many, the roles that each of them may take, and how many it keeps at once."""

    size: int
    roles: tuple[Role, ...]
    keeps: int = 2

    @property
    def swaps(self) -> bool:
        """Whether a worker must put one model away for another."""
        return self.keeps < len(self.roles)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """All that a run is told before it starts; sizes of pools may be pinned, else workers take the roles that pay.

    `calls_ahead` limits how much is in flight for each worker of a model; `first_share` says how the work is divided
    as long as nothing is measured.
    """

    path: tuple[Stage, ...]
    pools: Mapping[str, Pool]
    call_frames: Mapping[Role, int]
    budget_bytes: int
    lookahead_clips: int
    calls_ahead: int = 6
    first_share: Mapping[Role, float] = field(default_factory=lambda: {"t2i": 0.75, "t2v": 0.25})
    calls_in_flight: int = 2
    max_wait_s: float = 0.5
    max_attempts: int = 3
    timeout_s: float = 0.0
    stall_s: float = 1800.0
    max_start_failures: int = 3

    @property
    def models(self) -> Mapping[str, Pool]:
        """The pools whose workers run models."""
        return {name: pool for name, pool in self.pools.items() if "media" not in pool.roles}

    @property
    def frames_ahead(self) -> int:
        """Frames in flight that keep all workers busy; more of them where changing roles costs time."""
        frames = 0
        for pool in self.models.values():
            calls = self.calls_ahead * pool.size
            frames += max(self.call_frames[role] for role in pool.roles) * (max(2 * calls, 48) if pool.swaps else calls)
        return frames

    @property
    def join(self) -> int:
        """The last stage, of clips that are more than one segment."""
        return len(self.path) - 1
