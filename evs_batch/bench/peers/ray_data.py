"""Ray Data: one map per stage over pools of actors, and one map whose actors hold both models."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset

from evs_batch.bench.peers.work import MODEL_STAGES, Clip, Work, full_calls, load, run_stage
from evs_batch.bench.schedule import FRAME_S

Batch = dict[str, Any]  # columns: the names of clips, their frames, and their latents
BATCH_CLIPS = 2  # larger ones make the end longer, smaller ones wait for the driver
IN_FLIGHT = 4  # batches that an actor has or that travel to it
MEDIA_ACTORS = 2  # of decode and of encode
TASK_RETRIES = 3  # after an actor died; without a limit, which is the default, a clip that kills is tried for ever
START_S = 60  # pools that wait for all their actors do not start late


class Models:
    """Takes a batch through some model stages, in calls as full as allowed."""

    def __init__(self, work: Work, stages: Sequence[str], models: int) -> None:
        self._work, self._stages = work, stages
        load(work, models)

    def __call__(self, batch: Batch) -> Batch:
        calls = full_calls(_clips(batch))
        for stage in self._stages:
            calls = [run_stage(self._work, stage, clips) for clips in calls]
        return _batch([clip for clips in calls for clip in clips])


class Media:
    """Decodes or encodes the clips of a batch."""

    def __init__(self, work: Work, stage: str) -> None:
        self._work, self._stage = work, stage

    def __call__(self, batch: Batch) -> Batch:
        clips = run_stage(self._work, self._stage, _clips(batch))
        return _batch(clips) if self._stage == "decode" else {"name": batch["name"]}


def run(work: Work) -> list[str]:
    """A pool for each model stage, in the best proportion."""
    clips = _decoded(work)
    for stage, size in zip(MODEL_STAGES, _split(work.workers), strict=True):
        clips = _mapped(clips, Models, (work, [stage], 1), size, 1)
    return _delivered(clips, work)


def fused(work: Work) -> list[str]:
    """One pool, whose actors load both models and serve the three stages."""
    return _delivered(_mapped(_decoded(work), Models, (work, MODEL_STAGES, 2), work.workers, 1), work)


def _decoded(work: Work) -> Dataset:
    context = DataContext.get_current()
    context.execution_options.preserve_order = False
    context.max_errored_blocks = -1
    context.enable_progress_bars = False
    context.wait_for_min_actors_s = START_S
    items = [{"name": name, "frames": frames} for name, frames in work.clips.items()]
    clips = ray.data.from_items(items, override_num_blocks=-(-len(items) // BATCH_CLIPS))
    return _mapped(clips, Media, (work, "decode"), MEDIA_ACTORS, 0)


def _delivered(clips: Dataset, work: Work) -> list[str]:
    encoded = _mapped(clips, Media, (work, "encode"), MEDIA_ACTORS, 0)
    return [row["name"] for row in encoded.iter_rows()]


def _mapped(clips: Dataset, kind: type, arguments: tuple[Any, ...], size: int, gpus: int) -> Dataset:
    return clips.map_batches(
        kind,
        fn_constructor_args=arguments,
        batch_size=BATCH_CLIPS,
        compute=ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=IN_FLIGHT),
        num_cpus=0.5,
        num_gpus=gpus,
        max_task_retries=TASK_RETRIES,
    )


def _split(workers: int) -> tuple[int, ...]:
    """So many actors for each model stage that the slowest pool is as fast as it can be."""
    splits = [sizes for sizes in product(range(1, workers), repeat=len(FRAME_S)) if sum(sizes) == workers]
    return max(
        splits,
        key=lambda sizes: min(size / frame_s for size, frame_s in zip(sizes, FRAME_S.values(), strict=True)),
    )


def _clips(batch: Batch) -> list[Clip]:
    latents: Any = batch.get("latents", [np.zeros(0)] * len(batch["name"]))
    rows = zip(batch["name"], batch["frames"], latents, strict=True)
    return [Clip(str(name), int(frames), latents_FChw) for name, frames, latents_FChw in rows]


def _batch(clips: Sequence[Clip]) -> Batch:
    latents = np.empty(len(clips), object)
    latents[:] = [clip.latents_FChw for clip in clips]
    return {
        "name": np.array([clip.name for clip in clips]),
        "frames": np.array([clip.frames for clip in clips]),
        "latents": latents,
    }
