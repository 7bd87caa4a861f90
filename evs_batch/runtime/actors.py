"""A worker process: a Ray actor around a stage runner."""

import gc
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray

from evs_batch.runtime.failures import out_of_memory
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Role, Stage
from evs_batch.stages.item import Item, Probed, StageRunner, assemble
from evs_batch.stages.worker import code, load_runner


@dataclass(frozen=True, kw_only=True)
class CallMeta:
    """What the driver needs to know of a call: small, so that it never pulls latents.

    Times are Unix seconds; `bytes` are those of the arrays that it gives.
    """

    started_s: float
    ended_s: float
    probed: tuple[Probed | None, ...]
    rows: tuple[Mapping[str, Any] | None, ...]
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class WorkerMeta:
    """Where a worker runs, the role that it has loaded, and all that it holds."""

    pid: int
    node: str
    role: Role
    load_s: float
    ended_s: float
    held: frozenset[Role]


class Worker:
    """Serves the stages of its roles, a call at a time; it is made an actor by `start`."""

    def __init__(self, recipe: Recipe, threads: int) -> None:
        # Read when torch is imported, which has not happened yet. A runtime_env would cost every worker a new process.
        # Threads that wait must sleep: where workers share cores, spinning ones make each other many times slower.
        os.environ |= {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
        self._recipe, self._threads = recipe, threads
        self._runners: dict[Role, StageRunner] = {}

    def here(self) -> None:
        """Answers as soon as there is a process."""

    def load(self, role: Role) -> WorkerMeta:
        """Load a role's models, beside those that are there or, if there is no room for both, in their place."""
        self.prepare(role)  # once for a process: no part of what another load would take
        began_s = time.monotonic()
        if role not in self._runners:
            try:
                self._runners[role] = self.load_runner(role)
            except Exception as error:
                if not self._runners or not out_of_memory(error):
                    raise
                self._runners.clear()
                error.__traceback__ = None  # it holds what was loaded by half
                gc.collect()
                self._runners[role] = self.load_runner(role)
        return WorkerMeta(
            pid=os.getpid(),
            node=ray.get_runtime_context().get_node_id(),
            role=role,
            load_s=time.monotonic() - began_s,
            ended_s=time.time(),
            held=frozenset(self._runners),
        )

    def prepare(self, role: Role) -> None:
        """Import what serves a role."""
        code(role)

    def load_runner(self, role: Role) -> StageRunner:
        """Load the models of a role."""
        return load_runner(role, self._recipe, self._threads)

    def run(self, stage: Stage, items: Sequence[Item], *arrays: Any) -> Any:
        """One call; gives its meta and the artifacts of item 0, of item 1, …

        `arrays` are those of `Artifacts.inputs`, after the facts of every clip for stages that are told the whole.
        """
        started_s, parts = time.time(), iter(arrays)
        if stage.whole:
            items = [replace(item, facts=next(parts)) for item in items]
        inputs = [assemble(stage, item, parts) for item in items]
        results = self._runners[stage.role].run(stage, list(items), inputs)
        given = [result.arrays[name] for result in results for name in stage.gives]
        meta = CallMeta(
            started_s=started_s,
            ended_s=time.time(),
            probed=tuple(result.probed for result in results),
            rows=tuple(result.row for result in results),
            bytes=sum(array.nbytes for array in given),
        )
        return (meta, *given) if given else meta


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one worker is given of a node, and the labels that the node must have."""

    num_cpus: float
    num_gpus: float
    threads: int
    labels: Mapping[str, str] = field(default_factory=dict)


def start(recipe: Recipe, share: Share, worker: type[Worker] = Worker) -> Any:
    """Start an actor; Ray never restarts it or retries its calls, the scheduler does."""
    actor: Any = ray.remote(worker)
    options = actor.options(
        num_cpus=share.num_cpus,
        num_gpus=share.num_gpus,
        max_restarts=0,
        max_task_retries=0,
        scheduling_strategy="SPREAD",
        label_selector=dict(share.labels),
    )
    return options.remote(recipe, share.threads)
