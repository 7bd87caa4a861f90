"""What a worker's process does about memory, and in which order it runs its calls."""

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

from evs_batch.runtime import actors
from evs_batch.runtime.actors import Line, Worker
from evs_batch.spec.recipe import load_recipe
from evs_batch.spec.segments import Segments
from evs_batch.spec.video import constant_rate
from evs_batch.spec.work import Clip, Role, Stage, path
from evs_batch.stages.item import Item, Result
from tests.conftest import stripes


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
    monkeypatch.setattr(actors, "PATIENCE_S", 60)
    line, ran = Line(), list[int]()
    with ThreadPoolExecutor(3) as pool:
        for number in (2, 1, 0):
            pool.submit(line.in_turn, number, lambda number=number: ran.append(number))
            time.sleep(0.01)
    monkeypatch.setattr(actors, "PATIENCE_S", 0.01)
    line.in_turn(4, lambda: ran.append(4))  # 3 is lost on its way
    line.soon(lambda: None).result()
    assert ran == [0, 1, 2, 4]
