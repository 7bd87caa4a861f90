"""The pieces of the runtime that need no running Ray."""

import pytest
from ray import exceptions as rex

from evs_batch.runtime.actors import CallMeta
from evs_batch.runtime.cluster import budget_bytes, connect, place
from evs_batch.runtime.failures import classify
from evs_batch.runtime.timeline import Timeline, overlap_s
from evs_batch.scheduling.events import FailureKind
from evs_batch.spec.errors import EncodeError, MediaError, RunError
from evs_batch.spec.recipe import load_recipe
from evs_batch.spec.work import Unit, path


def task_error(cause: Exception) -> rex.RayTaskError:
    return rex.RayTaskError("run", "traceback", cause)


@pytest.mark.parametrize(
    ("error", "kind", "worker_lost"),
    [
        (task_error(MediaError("x", "y", "z")), FailureKind.BAD_INPUT, False),
        (task_error(EncodeError("x", "y", "z")), FailureKind.ERROR, False),
        (task_error(ValueError("boom")), FailureKind.ERROR, False),
        (task_error(MemoryError()), FailureKind.OUT_OF_MEMORY, False),
        (rex.ActorDiedError(), FailureKind.WORKER_DIED, True),
        (rex.OutOfMemoryError("killed by Ray's memory monitor"), FailureKind.WORKER_DIED, True),
        (rex.NodeDiedError("gone"), FailureKind.WORKER_DIED, True),
        (rex.WorkerCrashedError(), FailureKind.WORKER_DIED, True),
        (rex.ObjectLostError("aa", None, ""), FailureKind.DATA_LOST, False),
    ],
)
def test_errors_of_ray_are_kinds_of_failures(error: Exception, kind: FailureKind, worker_lost: bool):
    cause = classify(error)
    assert (cause.kind, cause.worker_lost) == (kind, worker_lost)


def test_a_small_machine_gets_one_worker_of_each_role():
    placed = place(load_recipe("demo"), {"CPU": 2.0}, None, None)
    assert placed.workers == {"t2i": 1, "t2v": 1, "media": 1}
    assert (placed.shares["t2i"].threads, placed.shares["t2i"].num_gpus) == (1, 0)
    assert sum(placed.workers[role] * placed.shares[role].num_cpus for role in placed.workers) <= 2


def test_one_gpu_is_shared_by_both_models():
    placed = place(load_recipe("demo"), {"CPU": 8.0, "GPU": 1.0}, None, None)
    assert {role: placed.shares[role].num_gpus for role in ("t2i", "t2v", "media")} == {
        "t2i": 0.5,
        "t2v": 0.5,
        "media": 0,
    }


def test_eight_gpus_are_divided_and_pins_are_kept():
    assert place(load_recipe("demo"), {"CPU": 64.0, "GPU": 8.0}, None, None).workers["t2i"] == 6
    pinned = place(load_recipe("demo"), {"CPU": 64.0, "GPU": 8.0}, 5, 3)
    assert (pinned.workers["t2i"], pinned.workers["t2v"], pinned.shares["t2i"].num_gpus) == (5, 3, 1.0)


def test_without_models_there_are_only_media_workers():
    placed = place(load_recipe("identity"), {"CPU": 4.0}, None, None)
    assert (placed.workers["t2i"], placed.workers["t2v"]) == (0, 0)
    assert placed.workers["media"] == 2


@pytest.mark.parametrize(
    ("cpus", "gpus", "t2i"), [(1, 1, None), (2, 1, None), (4, 4, None), (8, 2, 2), (8, 4, 4), (16, 2, 9)]
)
def test_every_placement_fits_its_cluster(cpus: int, gpus: int, t2i: int | None):
    placed = place(load_recipe("demo"), {"CPU": float(cpus), "GPU": float(gpus)}, t2i, None)
    models = placed.workers["t2i"] + placed.workers["t2v"]
    assert sum(placed.workers[role] * placed.shares[role].num_cpus for role in placed.workers) <= cpus
    on_one_gpu = int(1 / placed.shares["t2i"].num_gpus + 1e-9)
    assert on_one_gpu * gpus >= models


def test_the_budget_is_the_smaller_of_recipe_and_object_store():
    recipe = load_recipe("demo", ["runtime.memory_gb=4"])
    assert budget_bytes(recipe, {"object_store_memory": 1e9}) == 600_000_000
    assert budget_bytes(recipe, {"object_store_memory": 1e12}) == 4_000_000_000


def test_overlap_is_the_length_of_the_common_time():
    assert overlap_s([(0, 2), (1, 3)], [(2, 5), (2.5, 6)]) == 1
    assert overlap_s([(0, 1)], [(1, 2)]) == 0


def test_the_time_of_a_call_is_shared_by_frames():
    stage = next(stage for stage in path(load_recipe("demo")) if stage.name == "t2i_a")
    timeline = Timeline(100.0)
    timeline.add(
        stage, "t2i-0", {Unit("a"): 10, Unit("b"): 30}, CallMeta(started_s=101, ended_s=105, probed=(), rows=())
    )
    assert timeline.take("a") == {"t2i": 1.0}
    assert timeline.calls[0]["start_s"] == 1.0
    assert timeline.busy_s == {"t2i-0": 4}


def test_an_address_where_nobody_listens_is_named_at_once():
    with pytest.raises(RunError, match=r"127.0.0.1:1: cannot be used .*refused"):
        connect("127.0.0.1:1")
