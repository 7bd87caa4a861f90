"""A worker process: a Ray actor around a stage runner."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray

from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Role, Stage
from evs_batch.stages.item import Item, Probed, assemble
from evs_batch.stages.worker import load_runner


@dataclass(frozen=True, kw_only=True)
class CallMeta:
    """What the driver needs to know of a call: small, so that it never pulls latents. Times are Unix seconds."""

    started_s: float
    ended_s: float
    probed: tuple[Probed | None, ...]
    rows: tuple[Mapping[str, Any] | None, ...]


@dataclass(frozen=True, kw_only=True)
class WorkerMeta:
    """Where a worker runs."""

    pid: int
    node: str
    load_s: float


class Worker:
    """Serves the stages of one role, a call at a time; it is made an actor by `start`."""

    def __init__(self, role: Role, recipe: Recipe, threads: int) -> None:
        began_s = time.monotonic()
        self._runner = load_runner(role, recipe, threads)
        self._load_s = time.monotonic() - began_s

    def ready(self) -> WorkerMeta:
        return WorkerMeta(pid=os.getpid(), node=ray.get_runtime_context().get_node_id(), load_s=self._load_s)

    def run(self, stage: Stage, items: Sequence[Item], *arrays: Any) -> Any:
        """One call; gives its meta and the artifacts of item 0, of item 1, …

        `arrays` are those of `Artifacts.inputs`, after the facts of every clip for stages that are told the whole.
        """
        started_s, parts = time.time(), iter(arrays)
        if stage.whole:
            items = [replace(item, facts=next(parts)) for item in items]
        inputs = [assemble(stage, item, parts) for item in items]
        results = self._runner.run(stage, list(items), inputs)
        meta = CallMeta(
            started_s=started_s,
            ended_s=time.time(),
            probed=tuple(result.probed for result in results),
            rows=tuple(result.row for result in results),
        )
        given = [result.arrays[name] for result in results for name in stage.gives]
        return (meta, *given) if given else meta


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one worker of a role is given of a node."""

    num_cpus: float
    num_gpus: float
    threads: int


_ACTOR: Any = ray.remote(Worker)


def start(role: Role, recipe: Recipe, share: Share) -> Any:
    """Start an actor; Ray never restarts it or retries its calls, the scheduler does."""
    options = _ACTOR.options(
        num_cpus=share.num_cpus,
        num_gpus=share.num_gpus,
        max_restarts=0,
        max_task_retries=0,
        scheduling_strategy="SPREAD",
        # Threads that wait must sleep: where workers share cores, spinning ones make each other many times slower.
        runtime_env={"env_vars": {"OMP_NUM_THREADS": str(share.threads), "OMP_WAIT_POLICY": "PASSIVE"}},
    )
    return options.remote(role, recipe, share.threads)
