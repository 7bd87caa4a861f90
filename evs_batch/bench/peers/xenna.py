"""Cosmos-Xenna: a streaming pipeline of stages, whose autoscaler shares the GPUs among them.

It asks NVML for the GPUs of a node and the dashboard of Ray for what its log tells; here neither is there, so it is
told of GPUs that do not exist, and logs no actors.
"""

# pyright: reportMissingImports=false

import uuid
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import ray
import ray.util.state
from cosmos_xenna.pipelines import v1 as xenna
from cosmos_xenna.pipelines.private.resources import ClusterResources, GpuResources, NodeResources
from cosmos_xenna.ray_utils import cluster

from evs_batch.bench.peers.work import MODEL_STAGES, Clip, Work, full_calls, load, run_stage

BATCH_CLIPS = 2
MEDIA_WORKERS = 2  # of decode and of encode
QUEUED = 2.0  # what may wait behind a stage, over what its workers hold


class Part(xenna.Stage[Any, Any]):
    """One stage, or several after each other."""

    def __init__(self, work: Work, stages: Sequence[str], models: int) -> None:
        self._work, self._stages, self._models = work, stages, models

    @property
    def stage_batch_size(self) -> int:
        """Clips of a task."""
        return BATCH_CLIPS

    @property
    def required_resources(self) -> xenna.Resources:
        """Of one worker."""
        return xenna.Resources(cpus=0.25, gpus=int(self._models > 0))

    def setup(self, worker_metadata: xenna.WorkerMetadata) -> None:
        """Load the models."""
        if self._models:
            load(self._work, self._models)

    def process_data(self, in_data: list[Any]) -> list[Any]:
        """Take clips through the stages, in calls as full as allowed."""
        calls = full_calls(in_data)
        for stage in self._stages:
            calls = [run_stage(self._work, stage, clips) for clips in calls]
        return [clip for clips in calls for clip in clips]


class Encode(Part):
    """Gives names only."""

    def process_data(self, in_data: list[Any]) -> list[Any]:
        """Encode, and let go of the latents."""
        return [clip.name for clip in super().process_data(in_data)]


def run(work: Work) -> list[str]:
    """A stage for each model stage; all three in one stage reach as much here, and let nothing be balanced."""
    return _run(work, [Part(work, [stage], 1) for stage in MODEL_STAGES])


def fused(work: Work) -> list[str]:
    """The three model stages as one, whose workers load both models."""
    return _run(work, [Part(work, MODEL_STAGES, 2)])


def _run(work: Work, models: list[Part]) -> list[str]:
    spec = xenna.PipelineSpec(
        [Clip(name, frames) for name, frames in work.clips.items()],
        [
            xenna.StageSpec(Part(work, ["decode"], 0), num_workers=MEDIA_WORKERS),
            *models,
            xenna.StageSpec(Encode(work, ["encode"], 0), num_workers=MEDIA_WORKERS),
        ],
        xenna.PipelineConfig(
            return_last_stage_outputs=True,
            ignore_failures=True,
            mode_specific=xenna.StreamingSpecificSpec(max_queued_multiplier=QUEUED),
        ),
    )
    with (
        patch.object(cluster, "make_cluster_resources_from_ray_nodes", _resources),
        patch.object(ray.util.state, "list_actors", return_value=[]),
    ):
        return list(xenna.run_pipeline(spec) or ())


def _resources(cpu_allocation_percentage: float) -> ClusterResources:
    node = ray.nodes()[0]
    gpus = [GpuResources(index, uuid.uuid4(), 0.0) for index in range(int(node["Resources"]["GPU"]))]
    cpus = int(node["Resources"]["CPU"] * cpu_allocation_percentage)
    return ClusterResources({node["NodeID"]: NodeResources(0.0, cpus, gpus, node["NodeID"])})
