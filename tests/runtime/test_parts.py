"""The pieces of the runtime that need no running Ray."""

from dataclasses import replace

import pytest
import torch
from ray import exceptions as rex

from evs_batch.runtime import cluster
from evs_batch.runtime.account import Account
from evs_batch.runtime.actors import CallMeta, WorkerMeta
from evs_batch.runtime.cluster import connect, place
from evs_batch.runtime.failures import classify
from evs_batch.runtime.timeline import Timeline, overlap_s
from evs_batch.scheduling.events import FailureKind
from evs_batch.scheduling.policy import Policy, Pool
from evs_batch.spec.errors import EncodeError, MediaError, RunError
from evs_batch.spec.recipe import load_recipe
from evs_batch.spec.work import Role, Unit, path


def task_error(cause: Exception) -> rex.RayTaskError:
    return rex.RayTaskError("run", "traceback", cause)


def _too_much() -> Exception:
    """What torch says where a processor's memory does not do."""
    with pytest.raises(RuntimeError) as raised:
        torch.empty(10**17)
    return raised.value


@pytest.mark.parametrize(
    ("error", "kind", "worker_lost"),
    [
        (task_error(MediaError("x", "y", "z")), FailureKind.BAD_INPUT, False),
        (task_error(EncodeError("x", "y", "z")), FailureKind.ERROR, False),
        (task_error(ValueError("boom")), FailureKind.ERROR, False),
        (task_error(MemoryError()), FailureKind.OUT_OF_MEMORY, False),
        (task_error(_too_much()), FailureKind.OUT_OF_MEMORY, False),
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


BOTH = ("t2i", "t2v")


def test_a_small_machine_gets_two_workers_that_take_both_roles():
    placed = place(load_recipe("demo"), [{"CPU": 2.0}], None, None)
    assert placed.pools == {"model": Pool(2, BOTH), "media": Pool(1, ("media",))}
    assert (placed.shares["model"].threads, placed.shares["model"].num_gpus) == (1, 0)
    assert sum(placed.pools[name].size * placed.shares[name].num_cpus for name in placed.pools) <= 2


def test_every_gpu_gets_a_worker():
    for gpus in (1, 2, 8):
        placed = place(load_recipe("demo"), [{"CPU": 64.0, "GPU": float(gpus)}], None, None)
        assert placed.pools["model"] == Pool(gpus, BOTH)
        assert placed.shares["model"].num_gpus == 1.0


def test_cores_are_used_on_every_node_and_as_many_as_asked_for(monkeypatch: pytest.MonkeyPatch):
    nodes = [{"CPU": 4.0}, {"CPU": 4.0}, {"CPU": 4.0}]
    monkeypatch.setattr(cluster, "SMALL_BYTES", 1e6)
    placed = place(load_recipe("demo"), nodes, None, None)
    assert (placed.pools["model"].size, placed.shares["model"].threads) == (3, 4)
    placed = place(load_recipe("demo", ["runtime.workers=6"]), nodes, None, None)
    assert (placed.pools["model"].size, placed.shares["model"].threads) == (6, 2)
    assert place(load_recipe("demo"), [{"CPU": 16.0}], None, None).pools == {
        "media": Pool(1, ("media",)),
        "model": Pool(2, BOTH),
    }


def test_small_models_are_on_each_core_but_one_as_memory_allows():
    def workers(*nodes: dict[str, float], recipe: str = "demo", changes: tuple[str, ...] = ()) -> tuple[int, int, int]:
        placed = place(load_recipe(recipe, changes), nodes, None, None)
        share = placed.shares["model"]
        return placed.pools["model"].size, share.threads, share.memory_bytes

    node = {"CPU": 16.0, "memory": 64e9}
    assert workers(node) == (15, 1, cluster.SMALL_WORKER_BYTES)
    assert workers({"CPU": 0.0, "memory": 64e9}, node, {"CPU": 4.0}, {"CPU": 2.0})[0] == 15 + 3 + 2
    assert workers(node, {"CPU": 16.0, "memory": 11e9})[0] == 15 + 5
    assert workers({"CPU": 16.0, "memory": 1e9}) == (2, 8, 0), "both fit, as ever, or neither would start"
    assert workers({"CPU": 16.0, "memory": 9e9}, changes=("runtime.workers=8",)) == (8, 2, 0)
    assert workers(node, recipe="enhance") == (2, 8, 0), "nobody knows how large its models are"
    assert place(load_recipe("identity"), [node], None, None).pools.keys() == {"media"}


def test_a_run_stays_on_the_devices_that_it_began_on_and_may_wait_for_gpus():
    plain, waiting = load_recipe("demo"), load_recipe("demo", ["runtime.gpus_per_worker=1", "runtime.workers=8"])
    later = [{"CPU": 2.0}, {"CPU": 8.0, "GPU": 4.0}]
    assert place(plain, later, None, None, "CPU").shares["model"].num_gpus == 0
    assert place(plain, later, None, None).pools["model"].size == 4
    first = place(waiting, later[:1], None, None)
    assert (first.device, first.pools["model"].size, first.shares["model"].num_gpus) == ("GPU", 1, 1.0)
    assert place(waiting, later, None, None, first.device).pools["model"].size == 4


def test_workers_may_share_a_gpu_or_ask_for_a_kind_of_node():
    asked = load_recipe("demo", ["runtime.gpus_per_worker=0.5", "runtime.labels=['ray.io/accelerator-type=H100']"])
    placed = place(asked, [{"CPU": 8.0, "GPU": 2.0}], None, None)
    assert (placed.pools["model"].size, placed.shares["model"].num_gpus) == (4, 0.5)
    assert placed.shares["model"].labels == {"ray.io/accelerator-type": "H100"}
    assert not placed.shares["media"].labels


def test_with_offload_a_worker_has_one_model_on_its_gpu():
    placed = place(load_recipe("demo", ["runtime.offload='models'"]), [{"CPU": 8.0, "GPU": 1.0}], None, None)
    assert placed.pools["model"] == Pool(1, BOTH, keeps=1)


def test_pinned_pools_are_kept():
    pinned = place(load_recipe("demo"), [{"CPU": 64.0, "GPU": 8.0}], 5, 3)
    assert pinned.pools == {"t2i": Pool(5, ("t2i",)), "t2v": Pool(3, ("t2v",)), "media": Pool(32, ("media",))}
    assert pinned.shares["t2i"].num_gpus == 1.0
    assert place(load_recipe("demo"), [{"CPU": 64.0, "GPU": 8.0}], None, 2).pools["t2i"].size == 6


def test_media_workers_have_half_of_the_cores_beside_gpus_or_fewer_if_asked():
    nodes = [{"CPU": 16.0, "GPU": 2.0}]
    assert place(load_recipe("demo"), nodes, None, None).pools["media"].size == 8
    assert place(load_recipe("demo", ["runtime.media_workers=3"]), nodes, None, None).pools["media"].size == 3
    assert place(load_recipe("demo", ["runtime.media_workers=99"]), nodes, None, None).pools["media"].size == 16
    assert place(load_recipe("demo"), [{"CPU": 16.0}], None, None).pools["media"].size == 8


def test_one_model_needs_one_pool():
    placed = place(load_recipe("demo", ["composition='T2I'"]), [{"CPU": 8.0, "GPU": 4.0}], None, None)
    assert placed.pools["t2i"] == Pool(4, ("t2i",))
    assert "t2v" not in placed.pools


def test_without_models_there_are_only_media_workers():
    placed = place(load_recipe("identity"), [{"CPU": 4.0}], None, None)
    assert placed.pools == {"media": Pool(2, ("media",))}


@pytest.mark.parametrize(
    ("cpus", "gpus", "t2i"), [(1, 1, None), (2, 1, None), (4, 4, None), (8, 2, 2), (8, 4, 4), (16, 2, 9)]
)
def test_every_placement_fits_its_cluster(cpus: int, gpus: int, t2i: int | None):
    placed = place(load_recipe("demo"), [{"CPU": float(cpus), "GPU": float(gpus)}], t2i, None)
    assert sum(placed.pools[name].size * placed.shares[name].num_cpus for name in placed.pools) <= cpus
    models = [name for name in placed.pools if name != "media"]
    on_one_gpu = int(1 / placed.shares[models[0]].num_gpus + 1e-9)
    assert on_one_gpu * gpus >= sum(placed.pools[name].size for name in models)


@pytest.mark.parametrize(
    ("nodes", "budget_gb"),
    [
        ([{"CPU": 2, "object_store_memory": 1e9}], 0.6),
        ([{"CPU": 2, "object_store_memory": 1e12}], 4),
        ([{"CPU": 2, "object_store_memory": 1e9}] * 3, 1.8),
        ([{"CPU": 2, "object_store_memory": 1e9}, {"CPU": 2, "object_store_memory": 5e9}], 1.2),
        ([{"CPU": 8, "object_store_memory": 1e9}, {"CPU": 2, "object_store_memory": 5e9}], 0.75),
        ([{"CPU": 2, "object_store_memory": 1e9}, {"CPU": 2, "GPU": 8, "object_store_memory": 3e9}], 1.2),
    ],
)
def test_the_budget_is_what_no_node_has_to_spill(nodes: list[dict[str, float]], budget_gb: float):
    assert place(load_recipe("demo"), nodes, None, None).budget_bytes == pytest.approx(budget_gb * 1e9)


def test_overlap_is_the_length_of_the_common_time():
    assert overlap_s([(0, 2), (1, 3)], [(2, 5), (2.5, 6)]) == 1
    assert overlap_s([(0, 1)], [(1, 2)]) == 0


def meta(started_s: float, ended_s: float) -> CallMeta:
    return CallMeta(started_s=started_s, ended_s=ended_s, probed=(), rows=(), bytes=10)


STAGES = {stage.name: stage for stage in path(load_recipe("demo", ["t2v.switch_at=[3]"]))}


def test_the_time_of_a_call_is_shared_by_frames():
    timeline = Timeline(100.0)
    timeline.add(STAGES["t2i_a"], "t2i-0", {Unit("a"): 10, Unit("b"): 30}, meta(101, 105), 100.5)
    assert timeline.take("a") == {"t2i": 1.0}
    assert (timeline.calls[0]["submit_s"], timeline.calls[0]["start_s"]) == (0.5, 1.0)


def test_a_trace_has_a_slice_for_every_call_and_load_on_the_line_of_its_worker():
    timeline = Timeline(100.0)
    held = frozenset[Role](["t2i"])
    timeline.load("model-0", WorkerMeta(pid=1, node="n", device="d", role="t2i", load_s=0.5, ended_s=101.0, held=held))
    timeline.add(STAGES["t2i_a"], "model-0", {Unit("a"): 10}, meta(101, 105), 100.5)
    name, load, call = timeline.trace()["traceEvents"]
    assert (name["args"]["name"], name["tid"]) == ("model-0", call["tid"])
    assert (load["name"], load["ts"], load["dur"]) == ("load t2i", 500_000, 500_000)
    assert (call["name"], call["ph"], call["ts"], call["dur"]) == ("t2i_a", "X", 1_000_000, 4_000_000)


def test_what_a_run_has_reached_of_its_bound():
    """Ten seconds of full calls on each of two workers, in 12.5 s; half a call more costs more for each frame."""
    account, both = Account(), Policy(
        path=path(load_recipe("demo", ["t2v.switch_at=[3]"])), pools={"model": Pool(2, BOTH)}, call_frames={},
        budget_bytes=1, lookahead_clips=1,
    )  # fmt: skip
    assert account.reached(both) is None
    account.add(STAGES["t2i_a"], "model-0", 64, meta(100, 106.4), 99)
    account.add(STAGES["t2v"], "model-1", 64, meta(106.4, 110), 99)
    account.add(STAGES["t2v"], "model-0", 32, meta(106.5, 112.5), 106)
    reached = account.reached(both)
    assert reached
    assert reached.fraction == pytest.approx((6.4 + 3.6 * 1.5) / 2 / 12.5)
    assert reached.bottleneck == "model"
    assert account.gap_s["model-0"] == pytest.approx(0.1), "it was there before the call before it ended"
    pinned = replace(both, pools={"t2i": Pool(1, ("t2i",)), "t2v": Pool(1, ("t2v",))})
    assert (bound := account.reached(pinned))
    assert (bound.bottleneck, bound.fraction) == ("t2i", pytest.approx(6.4 / 12.5))


def test_an_address_where_nobody_listens_is_named_at_once():
    with pytest.raises(RunError, match=r"127.0.0.1:1: cannot be used .*refused"):
        connect("127.0.0.1:1")
