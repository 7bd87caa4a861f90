"""What others may see of a run while it goes on."""

import time
from collections import Counter
from typing import Any

from evs_batch.driver.progress import Progress
from evs_batch.driver.rates import Look
from evs_batch.runtime.actors import WorkerMeta
from evs_batch.runtime.loop import Loop


def look(progress: Progress, loop: Loop) -> None:
    """Bring a run's progress up to date."""
    state, account, path = loop.state, loop.timeline.account, loop.policy.path
    progress.stages = {stage.name: state.units_at[at] for at, stage in enumerate(path)}
    running = Counter[str]()
    for batch in state.batches.values():
        running[path[batch.at].name] += len(batch.units)
    progress.running = dict(running)
    progress.pools = {name: pool.size for name, pool in loop.placement.pools.items()}
    progress.processes = {name: _process(name, meta, loop) for name, meta in loop.worker_metas.items()}
    progress.workers = dict(Counter("+".join(sorted(worker.held)) for worker in state.crew.all.values() if worker.up))
    progress.state = "stopping" if state.stopping else "running" if progress.workers else "starting"
    inner = {stage.name: account.stages.get(stage.name) for stage in path if not stage.of_clip}
    progress.rates.take(
        Look(
            time.monotonic(),
            {name: sums.frames if sums else 0 for name, sums in inner.items()},
            {name: sums.busy_s if sums else 0.0 for name, sums in inner.items()},
        )
    )
    progress.frames_per_s = progress.rates.frames_per_s()
    probed = account.stages.get("probe")
    failed_now = progress.done["failed"] - progress.failed_earlier
    todo = progress.rows - max(progress.earlier, progress.skipped) - failed_now
    progress.eta_s = progress.rates.eta_s(todo * probed.frames / probed.calls) if probed else None


def _process(name: str, meta: WorkerMeta, loop: Loop) -> dict[str, Any]:
    """A worker, also one that is gone."""
    most = loop.timeline.account.memory_bytes[name]
    return {**vars(meta), "held": sorted(meta.held), "up": name in loop.state.crew.all, "memory_bytes": most}
