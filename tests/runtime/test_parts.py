"""The pieces of the runtime that need no running Ray."""

import gc
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from ray import exceptions as rex

from evs_batch.runtime import actors
from evs_batch.runtime.account import Account
from evs_batch.runtime.actors import CallMeta, Line, Worker, WorkerMeta
from evs_batch.runtime.cluster import connect, place
from evs_batch.runtime.failures import classify
from evs_batch.runtime.timeline import Timeline, overlap_s
from evs_batch.scheduling.events import FailureKind
from evs_batch.scheduling.policy import Policy, Pool
from evs_batch.spec.errors import EncodeError, MediaError, RunError
from evs_batch.spec.recipe import load_recipe
from evs_batch.spec.segments import Segments
from evs_batch.spec.video import constant_rate
from evs_batch.spec.work import Clip, Role, Stage, Unit, path
from evs_batch.stages.item import Item, Result
from tests.conftest import stripes


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


class Tight(Worker):
    """A device on which a picture does not fit but tile by tile."""

    loads: ClassVar[list[tuple[int, str, bool]]] = []

    def load_runner(self, role: Role) -> Any:
        runtime = self._recipe.runtime
        self.loads.append((runtime.frames_per_forward, runtime.offload, runtime.vae_tiles))

        def run(stage: Stage, items: list[Item], inputs: list[Any]) -> list[Result]:
            if not runtime.vae_tiles:
                raise MemoryError
            return [Result(arrays={}, row={}) for _ in items]

        return SimpleNamespace(run=run)


def test_a_clip_that_does_not_fit_alone_is_run_with_less_of_the_model_on_the_device():
    worker, encode = Tight(load_recipe("demo"), threads=1), path(load_recipe("demo"))[-2]
    item = Item(clip=Clip(id="a", uri="a.mp4", prompt="x", seed=0), facts=None, output="")
    worker._runners = {encode.role: worker.load_runner(encode.role)}
    with pytest.raises(MemoryError):
        worker._run(encode, [item, item], [np.zeros(1)] * 2 * len(encode.needs))
    assert len(worker.loads) == 1, "two of them are tried one by one first"
    with pytest.raises(MemoryError):
        worker._run(encode, [item], [np.zeros(1)] * len(encode.needs))
    assert len(worker.loads) == 1, "media workers have no models that could go"
    on_a_model = replace(encode, role="t2i")
    worker._runners = {"t2i": worker._runners["media"]}
    meta = worker._run(on_a_model, [item], [np.zeros(1)] * len(encode.needs))
    assert meta.settings == "frames_per_forward = 16, offload = 'layers', vae_tiles = true"
    assert worker.loads == [
        (16, "none", False), (16, "models", False), (16, "layers", False), (16, "layers", True),
    ]  # fmt: skip


class Small(Worker):
    """The real models on a device that holds two frames, and no more."""

    def load_runner(self, role: Role) -> Any:
        careful: Any = super().load_runner(role)
        runner = careful.runner
        call = runner.t2i._call

        def forward(unet: Any, z: torch.Tensor, *rest: Any) -> torch.Tensor:
            if len(z) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")
            return call(unet, z, *rest)

        runner.t2i._call = forward
        return careful


def test_a_model_that_has_no_room_for_its_batch_does_the_same_in_smaller_ones():
    recipe = load_recipe("demo", ["t2v.switch_at=[2]", "runtime.frames_per_forward=4"])
    stage = next(stage for stage in path(recipe) if stage.role == "t2i")
    frames = stripes(3, 32, 32)
    facts = constant_rate(3, 32, 32, Fraction(8))
    item = Item(
        clip=Clip(id="a", uri="a.mp4", prompt="a red star", seed=0), facts=facts, output="", segments=Segments(3)
    )
    found = []
    for kind in (Worker, Small):
        worker = kind(recipe, threads=2)
        worker._runners = {"t2i": worker.load_runner("t2i")}
        found.append(worker._run(stage, [item], [frames]))
    assert found[1][0].settings.startswith("frames_per_forward = 4 (2 of its largest pictures), offload = 'none'")
    for name, ample, small in zip(stage.gives, found[0][1:], found[1][1:], strict=True):
        assert np.allclose(ample, small, atol=1e-3), name


def test_compiled_code_lies_where_the_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    Worker(load_recipe("demo"), threads=1)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "elsewhere"
    Worker(load_recipe("demo", [f"runtime.compile_cache={tmp_path}"]), threads=1)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path)


def test_a_media_worker_cannot_take_the_memory_of_its_node():
    greedy = "from evs_batch.runtime.memory import limit_data; limit_data(10**9); bytearray(2 * 10**9)"
    done = subprocess.run([sys.executable, "-c", greedy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (1, "MemoryError")


@pytest.mark.parametrize(("first", "keeps"), [("", False), ("keep_memory(); ", True)])
def test_memory_that_is_freed_is_kept_for_the_next_tensors(first: str, keeps: bool):
    program = f"""
from pathlib import Path
from evs_batch.runtime.memory import keep_memory
{first}[bytearray(b"x" * (24 << 20)) for _ in range(8)]
print(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20)
"""
    held_mb = int(subprocess.check_output([sys.executable, "-c", program], text=True))
    assert (held_mb >= 8 * 24) is keeps


def test_models_that_are_there_are_not_frozen_for_ever():
    worker = Worker(load_recipe("demo"), threads=1)
    worker._runners = {"t2i": SimpleNamespace()}
    try:
        gc.unfreeze()
        worker.prepare("media")
        assert gc.get_freeze_count() == 0
        worker._runners = {}
        worker.prepare("media")
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_workers_of_models_keep_memory_and_others_give_it_back(monkeypatch: pytest.MonkeyPatch):
    calls = []
    monkeypatch.setattr(actors, "keep_memory", lambda: calls.append(1))
    monkeypatch.setattr(Worker, "_load", lambda _self, role: role)
    worker = Worker(load_recipe("demo"), threads=1)
    assert (worker.load("media"), len(calls), worker.load("t2i"), len(calls)) == ("media", 0, "t2i", 1)


def test_calls_run_in_the_order_of_their_numbers_and_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(actors, "PATIENCE_S", 0.2)
    line, ran = Line(), list[int]()
    with ThreadPoolExecutor(4) as pool:
        for number in (2, 1, 0, 4):  # 3 is lost on its way
            pool.submit(line.in_turn, number, lambda number=number: ran.append(number))
            time.sleep(0.01)
    line.soon(lambda: None).result()
    assert ran == [0, 1, 2, 4]


def test_every_gpu_gets_a_worker():
    for gpus in (1, 2, 8):
        placed = place(load_recipe("demo"), [{"CPU": 64.0, "GPU": float(gpus)}], None, None)
        assert placed.pools["model"] == Pool(gpus, BOTH)
        assert placed.shares["model"].num_gpus == 1.0


def test_cores_are_used_on_every_node_and_as_many_as_asked_for():
    nodes = [{"CPU": 4.0}, {"CPU": 4.0}, {"CPU": 4.0}]
    placed = place(load_recipe("demo"), nodes, None, None)
    assert (placed.pools["model"].size, placed.shares["model"].threads) == (3, 4)
    placed = place(load_recipe("demo", ["runtime.workers=6"]), nodes, None, None)
    assert (placed.pools["model"].size, placed.shares["model"].threads) == (6, 2)


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
    assert pinned.pools == {"t2i": Pool(5, ("t2i",)), "t2v": Pool(3, ("t2v",)), "media": Pool(4, ("media",))}
    assert pinned.shares["t2i"].num_gpus == 1.0
    assert place(load_recipe("demo"), [{"CPU": 64.0, "GPU": 8.0}], None, 2).pools["t2i"].size == 6


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
    timeline.load("model-0", WorkerMeta(pid=1, node="n", role="t2i", load_s=0.5, ended_s=101.0, held=held))
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
