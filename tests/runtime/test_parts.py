"""The pieces of the runtime that need no running Ray."""

import pytest
from ray import exceptions as rex

from evs_batch.runtime.actors import CallMeta
from evs_batch.runtime.artifacts import Artifacts
from evs_batch.runtime.cluster import budget_bytes, connect, place
from evs_batch.runtime.failures import classify
from evs_batch.runtime.timeline import Timeline, overlap_s
from evs_batch.scheduling.events import FailureKind
from evs_batch.spec.errors import EncodeError, MediaError, RunError
from evs_batch.spec.recipe import load_recipe
from evs_batch.spec.segments import Segments
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


A, B = Unit("a"), Unit("b")


def test_artifacts_live_as_long_as_a_later_stage_reads_them():
    stages = {stage.name: stage for stage in path(load_recipe("demo", ["t2v.switch_at=[3]"]))}
    kept = Artifacts(list(stages.values()))
    for unit in (A, B):
        kept.begin(unit.clip, Segments(16))
        kept.keep(stages["decode"], unit, [f"frames {unit.clip}", "cuts"])
    assert kept.inputs(stages["t2i_a"], [A, B]) == ["frames a", "frames b"]
    kept.keep(stages["t2i_a"], A, ["x a", "eps a"])
    assert kept.held("a") == {(0, "x0"), (0, "eps"), (0, "cuts")}, "decoded frames are dropped"
    assert kept.inputs(stages["t2v"], [A]) == ["x a", "cuts"]
    kept.keep(stages["t2v"], A, ["x a2"])
    assert kept.inputs(stages["t2i_b"], [A]) == ["x a2", "eps a"]
    kept.keep(stages["t2i_b"], A, ["frames a2"])
    assert kept.held("a") == {(0, "frames")}
    assert kept.inputs(stages["encode"], [A]) == ["frames a2"]


def test_artifacts_of_a_segment_live_as_long_as_its_neighbours_need_them():
    stages = {
        stage.name: stage for stage in path(load_recipe("demo", ["t2v.switch_at=[3]", "t2i.attention=first_frame"]))
    }
    kept, units = Artifacts(list(stages.values())), [Unit("a", number) for number in range(3)]
    kept.begin("a", Segments(96, 3))
    for unit in units:
        kept.keep(stages["decode"], unit, [f"frames {unit.segment}", "cuts"])
    kept.keep(stages["t2i_a"], units[0], ["x 0", "eps 0"])
    assert (0, "frames") in kept.held("a"), "the clip's first frame is everybody's"
    for unit in units[1:]:
        kept.keep(stages["t2i_a"], unit, [f"x {unit.segment}", f"eps {unit.segment}"])
    assert (0, "frames") not in kept.held("a")
    kept.keep(stages["t2v"], units[0], ["x 0 after"])
    assert kept.inputs(stages["t2v"], units[1:2]) == ["x 0", "cuts", "x 1", "cuts", "x 2", "cuts"]
    kept.keep(stages["t2v"], units[1], ["x 1 after"])
    assert kept.inputs(stages["t2i_b"], units[1:2]) == ["x 0 after", "eps 0", "x 1 after", "eps 1"]
    assert kept.inputs(stages["t2v"], units[2:]) == ["x 1", "cuts", "x 2", "cuts"]


def test_overlap_is_the_length_of_the_common_time():
    assert overlap_s([(0, 2), (1, 3)], [(2, 5), (2.5, 6)]) == 1
    assert overlap_s([(0, 1)], [(1, 2)]) == 0


def test_the_time_of_a_call_is_shared_by_frames():
    stage = next(stage for stage in path(load_recipe("demo")) if stage.name == "t2i_a")
    timeline = Timeline(100.0)
    timeline.add(stage, "t2i-0", {A: 10, B: 30}, CallMeta(started_s=101, ended_s=105, facts=(), rows=()))
    assert timeline.take("a") == {"t2i": 1.0}
    assert timeline.calls[0]["start_s"] == 1.0
    assert timeline.busy_s == {"t2i-0": 4}


def test_an_address_where_nobody_listens_is_named_at_once():
    with pytest.raises(RunError, match=r"127.0.0.1:1: cannot be used .*refused"):
        connect("127.0.0.1:1")
