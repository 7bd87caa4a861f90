"""What people write themselves: one worker, data-parallel workers, and a static split with queues."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import ray
from ray.util import ActorPool

from evs_batch.bench.peers.work import MODEL_STAGES, Clip, Work, load, run_stage
from evs_batch.bench.schedule import T2I_S, T2V_S

ALL_STAGES = ("decode", *MODEL_STAGES, "encode")


class Whole:
    """Takes a clip from its file to its file."""

    def __init__(self, work: Work) -> None:
        self._work = work
        load(work, models=2)

    def run(self, name: str) -> str:
        clips = [Clip(name, self._work.clips[name])]
        for stage in ALL_STAGES:
            clips = run_stage(self._work, stage, clips)
        return name


class Part:
    """Serves some stages of a clip."""

    def __init__(self, work: Work, *, model: bool) -> None:
        self._work = work
        if model:
            load(work)

    def run(self, stage: str, clip: Clip) -> Clip:
        return run_stage(self._work, stage, [clip])[0]


def sequential(work: Work) -> list[str]:
    """One worker, clip by clip."""
    return _data_parallel(work, 1)


def data_parallel(work: Work) -> list[str]:
    """Every worker takes a clip at a time through all stages."""
    return _data_parallel(work, work.workers)


def _data_parallel(work: Work, workers: int) -> list[str]:
    actor: Any = ray.remote(Whole)
    pool = ActorPool([actor.options(num_gpus=1, num_cpus=1).remote(work) for _ in range(workers)])
    names: Any = pool.map_unordered(lambda worker, name: worker.run.remote(name), list[Any](work.clips))
    return list(names)


def static(work: Work) -> list[str]:
    """Fixed pools in the best proportion, a queue before each stage, later stages first, two calls in each worker."""
    t2i = max(range(1, work.workers), key=lambda count: min(count / T2I_S, (work.workers - count) / T2V_S))
    media = max(1, work.workers // 2)
    return Split(work, {"t2i": t2i, "t2v": work.workers - t2i, "media": media}).run()


class Split:
    """A hand-written pipeline over fixed pools."""

    def __init__(self, work: Work, sizes: dict[str, int]) -> None:
        self._work = work
        actor: Any = ray.remote(Part)
        self._actors = {
            role: [
                actor.options(num_gpus=role != "media", num_cpus=0.5).remote(work, model=role != "media")
                for _ in range(size)
            ]
            for role, size in sizes.items()
        }
        self._load = {worker: 0 for workers in self._actors.values() for worker in workers}
        self._queues: list[deque[tuple[str, Any]]] = [deque() for _ in ALL_STAGES]

    def run(self) -> list[str]:
        """All clips through all stages."""
        self._queues[0].extend((name, Clip(name, frames)) for name, frames in self._work.clips.items())
        running: dict[Any, tuple[int, str, Any]] = {}
        delivered = list[str]()
        while running or any(self._queues):
            self._submit(running)
            for ref in ray.wait(list(running), num_returns=1, fetch_local=False)[0]:
                at, name, worker = running.pop(ref)
                self._load[worker] -= 1
                if at + 1 < len(ALL_STAGES):
                    self._queues[at + 1].append((name, ref))
                else:
                    ray.get(ref)
                    delivered.append(name)
        return delivered

    def _submit(self, running: dict[Any, tuple[int, str, Any]]) -> None:
        for at in reversed(range(len(ALL_STAGES))):
            workers: Sequence[Any] = self._actors[_role(ALL_STAGES[at])]
            while self._queues[at] and self._load[free := min(workers, key=self._load.__getitem__)] < 2:
                name, clip = self._queues[at].popleft()
                running[free.run.remote(ALL_STAGES[at], clip)] = (at, name, free)
                self._load[free] += 1


def _role(stage: str) -> str:
    return stage.partition("_")[0] if stage in MODEL_STAGES else "media"
