"""What a run is told, how it is seen while it goes on, and how it ended."""

import time
from collections import Counter
from dataclasses import dataclass, field
from signal import Signals
from typing import Any

from evs_batch.driver.rates import Rates
from evs_batch.runtime.account import Reached
from evs_batch.spec.errors import ManifestError
from evs_batch.spec.version import versions


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run may be told besides manifest, recipe and output.

    With a `max_failed_fraction` of 1 a run goes on even if every row fails; else that is taken for another fault. With
    `force` a folder of another recipe, manifest or version is gone on with: its committed rows stay as they are.
    """

    limit: int | None = None
    shard: tuple[int, int] = (1, 1)
    address: str | None = None
    t2i_workers: int | None = None
    t2v_workers: int | None = None
    retry_failed: bool = False
    max_failed_fraction: float = 0.1
    force: bool = False

    def __post_init__(self) -> None:
        if self.retry_failed and self.shard != (1, 1):
            raise ManifestError(
                "--retry-failed with --shard", "would let drivers change each other's rows", "retry with one driver"
            )


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended. `rows` counts what this driver is to do, `success` and `failed` what is committed of it."""

    output: str
    rows: int
    success: int
    failed: int
    skipped: int
    elapsed_s: float = 0.0
    overlap_s: float = 0.0
    reached: Reached | None = None
    signal: Signals | None = None

    @property
    def failed_fraction(self) -> float:
        return self.failed / self.rows if self.rows else 0.0


@dataclass
class Progress:
    """A run as others see it: on the terminal, in `status`, in its stats.

    `stages` counts segments at each stage, `running` those of them in calls; `workers` counts the roles that are held.
    `skipped` rows were found done by an earlier run, `failed_earlier` of them failed; `earlier` is how many there are.
    """

    rows: int
    manifest_rows: int = 0
    manifest_folder: str = ""
    started_s: float = field(default_factory=time.time)
    done: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    earlier: int = 0
    failed_earlier: int = 0
    stages: dict[str, int] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    frames_per_s: dict[str, float] = field(default_factory=dict)
    eta_s: float | None = None
    pools: dict[str, int] = field(default_factory=dict)
    workers: dict[str, int] = field(default_factory=dict)
    processes: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=versions)
    state: str = "starting"
    overlap_s: float = 0.0
    reached: Reached | None = None
    rates: Rates = field(default_factory=Rates)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times are Unix seconds."""
        return {
            "state": self.state,
            "rows": self.rows,
            "manifest_rows": self.manifest_rows,
            "manifest_folder": self.manifest_folder,
            "success": self.done["success"],
            "failed": self.done["failed"],
            "skipped": self.skipped,
            "causes": dict(self.causes),
            "stages": self.stages,
            "running": self.running,
            "frames_per_s": {name: round(rate, 3) for name, rate in self.frames_per_s.items()},
            "eta_s": self.eta_s and round(self.eta_s, 1),
            "pools": self.pools,
            "workers": self.workers,
            "processes": self.processes,
            "versions": self.versions,
            "started_s": self.started_s,
            "updated_s": time.time(),
        }


def parse_shard(text: str) -> tuple[int, int]:
    """`i/n` with 1 <= i <= n; raises ManifestError."""
    number, slash, shards = text.partition("/")
    if not (slash and number.isdecimal() and shards.isdecimal() and 1 <= int(number) <= int(shards)):
        raise ManifestError(f"--shard {text}", "must be i/n with 1 <= i <= n", "for example --shard 1/4")
    return int(number), int(shards)
