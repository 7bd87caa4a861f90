"""A worker process: a Ray actor around a stage runner."""

import gc
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Condition
from typing import Any

import ray

from evs_batch.runtime.failures import out_of_memory
from evs_batch.runtime.lighter import lighter, settings
from evs_batch.runtime.memory import device_name, keep_memory, limit_data, most_held_bytes
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Role, Stage
from evs_batch.stages.item import Arrays, Item, Probed, Result, StageRunner, assemble
from evs_batch.stages.worker import code, load_careful
from evs_batch.store import storage

MEDIA_BYTES = 4 * 10**9  # for a decoder and an encoder, beside the frames that go in and out
CONCURRENCY = 4  # calls that wait, one that runs, and questions
PATIENCE_S = 1.0  # for a call before this one: it never comes if its input is lost


@dataclass(frozen=True, kw_only=True)
class CallMeta:
    """What the driver needs to know of a call: small, so that it never pulls latents.

    Times are Unix seconds; `bytes` are those of the arrays that it gives; `memory_bytes` is the most that its process
    has held, on its GPU if it has one; `settings` are its worker's now. `exact` of its clips were computed in fp32
    after they had come out with NaN or infinity.
    """

    started_s: float
    ended_s: float
    probed: tuple[Probed | None, ...]
    rows: tuple[Mapping[str, Any] | None, ...]
    settings: str = ""
    bytes: int = 0
    memory_bytes: int = 0
    exact: int = 0


@dataclass(frozen=True, kw_only=True)
class WorkerMeta:
    """Where and on what a worker runs, the role that it has loaded, and all that it holds."""

    pid: int
    node: str
    device: str
    role: Role
    load_s: float
    ended_s: float
    held: frozenset[Role]


class Worker:
    """Serves the stages of its roles, a call at a time; it is made an actor by `start`.

    One thread does all that models do. Calls wait for it in threads of their own, so that inputs are unpacked and
    results leave while it is at another call.
    """

    def __init__(self, recipe: Recipe, threads: int) -> None:
        # Read when torch is imported, which has not happened yet. A runtime_env would cost every worker a new process.
        # Threads that wait must sleep: where workers share cores, spinning ones make each other many times slower.
        os.environ |= {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
        if recipe.runtime.compile_cache:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = recipe.runtime.compile_cache
        storage.configure(recipe.runtime.storage)
        self._recipe, self._threads = recipe, threads
        self._runners: dict[Role, StageRunner] = {}
        self._fitting_frames: int | None = None
        self._line = Line()

    def here(self) -> None:
        """Answers as soon as there is a process."""

    def load(self, role: Role) -> WorkerMeta:
        """Load a role's models, beside those that are there or, if there is no room for both, in their place."""
        if role != "media":
            keep_memory()  # before there is a thread for models
        return self._line.soon(lambda: self._load(role)).result()

    def _load(self, role: Role) -> WorkerMeta:
        if role == "media":
            limit_data(2 * int(self._recipe.runtime.memory_gb * 1e9) + MEDIA_BYTES)
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
            device=device_name(),
            role=role,
            load_s=time.monotonic() - began_s,
            ended_s=time.time(),
            held=frozenset(self._runners),
        )

    def prepare(self, role: Role) -> None:
        """Import what serves a role, without the garbage collector: imports make none, and it takes their time."""
        gc.disable()
        try:
            code(role)
        finally:
            if not self._runners:  # else models that are given up would stay
                gc.freeze()
            gc.enable()

    def load_runner(self, role: Role) -> StageRunner:
        """Load the models of a role."""
        return load_careful(role, self._recipe, self._threads)

    def run(self, number: int, stage: Stage, items: Sequence[Item], *arrays: Any) -> Any:
        """The worker's call of this number, from 0 on; gives its meta and the artifacts of item 0, of item 1, …

        `arrays` are those of `Artifacts.inputs`, after the facts of every clip for stages that are told the whole.
        """
        return self._line.in_turn(number, lambda: self._run(stage, items, arrays)).result()

    def _run(self, stage: Stage, items: Sequence[Item], arrays: Sequence[Any]) -> Any:
        started_s, parts = time.time(), iter(arrays)
        if stage.whole:
            items = [replace(item, facts=next(parts)) for item in items]
        inputs = [assemble(stage, item, parts) for item in items]
        results = self._fitting(stage, list(items), inputs)
        self._fitting_frames = min(
            (r.forward_frames for r in results if r.forward_frames), default=self._fitting_frames
        )
        given = [result.arrays[name] for result in results for name in stage.gives]
        meta = CallMeta(
            started_s=started_s,
            ended_s=time.time(),
            probed=tuple(result.probed for result in results),
            rows=tuple(result.row for result in results),
            settings=settings(self._recipe.runtime, self._fitting_frames),
            bytes=sum(array.nbytes for array in given),
            memory_bytes=most_held_bytes(),
            exact=sum(result.exact for result in results),
        )
        return (meta, *given) if given else meta

    def _fitting(self, stage: Stage, items: list[Item], inputs: list[Arrays]) -> list[Result]:
        """Run a call; where a single clip does not fit the device, with models that take less of it from then on."""
        while True:
            try:
                return self._runners[stage.role].run(stage, items, inputs)
            except Exception as error:
                recipe = lighter(self._recipe, stage.role)
                if len(items) > 1 or recipe is None or not out_of_memory(error):
                    raise
                error.__traceback__ = None  # it holds what the call has made
            self._recipe = recipe
            held = list(self._runners)
            self._runners.clear()
            gc.collect()
            try:
                self._runners |= {role: self.load_runner(role) for role in held}
            except Exception:  # whatever it is, a worker without its models is none: another one takes its place
                traceback.print_exc()  # into Ray's log of this process
                os._exit(os.EX_UNAVAILABLE)


class Line:
    """Calls for one thread, in the order of their numbers, whichever is unpacked first."""

    def __init__(self) -> None:
        self._thread, self._next, self._moved = ThreadPoolExecutor(1), 0, Condition()

    def soon(self, do: Callable[[], Any]) -> "Future[Any]":
        """Behind what waits already."""
        return self._thread.submit(do)

    def in_turn(self, number: int, do: Callable[[], Any]) -> "Future[Any]":
        """Behind all calls of smaller numbers that come."""
        with self._moved:
            self._moved.wait_for(lambda: self._next >= number, PATIENCE_S)
            self._next = number + 1
            self._moved.notify_all()
            return self.soon(do)


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one worker is given of a node, and the labels that the node must have."""

    num_cpus: float
    num_gpus: float
    threads: int
    labels: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int = 0


class Handle:
    """The driver's side of a worker: gives references at once."""

    def __init__(self, actor: Any) -> None:
        self._actor, self._sent = actor, 0

    def here(self) -> Any:
        """See `Worker.here`."""
        return self._actor.here.remote()

    def load(self, role: Role) -> Any:
        """See `Worker.load`."""
        return self._actor.load.remote(role)

    def run(self, stage: Stage, items: Sequence[Item], arrays: Sequence[Any]) -> list[Any]:
        """See `Worker.run`; references of the meta and of each artifact."""
        method = self._actor.run.options(num_returns=1 + len(items) * len(stage.gives))
        made = method.remote(self._sent, stage, items, *arrays)
        self._sent += 1
        return made if isinstance(made, list) else [made]

    def kill(self) -> None:
        """End the process, whatever it does."""
        ray.kill(self._actor)


def start(recipe: Recipe, share: Share, worker: type[Worker] = Worker) -> Handle:
    """Start an actor; Ray never restarts it or retries its calls, the scheduler does."""
    actor: Any = ray.remote(worker)
    options = actor.options(
        num_cpus=share.num_cpus,
        num_gpus=share.num_gpus,
        memory=share.memory_bytes or None,
        max_restarts=0,
        max_task_retries=0,
        max_concurrency=CONCURRENCY,
        scheduling_strategy="SPREAD",
        label_selector=dict(share.labels),
    )
    return Handle(options.remote(recipe, share.threads))
