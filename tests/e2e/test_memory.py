"""What is in flight on two nodes: nothing that has no room in their small object stores, and both models at once."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evs_batch.runtime import actors
from evs_batch.runtime import cluster as runtime
from evs_batch.runtime.loop import Finished, Loop
from evs_batch.scheduling.policy import Policy
from evs_batch.spec.recipe import Recipe, parse_recipe
from evs_batch.spec.video import constant_rate
from evs_batch.spec.work import Clip, Stage, path
from evs_batch.stages.item import Arrays, Item, Probed, Result
from evs_batch.stages.worker import measure
from tests.e2e.conftest import BIN, OPEN, STORE

pytestmark = [pytest.mark.ray, pytest.mark.slow]
CLIPS, FRAMES, SIZE_PX = 24, 64, 512
Act = Callable[[Stage, Sequence[Item]], None]


@pytest.fixture(scope="module")
def two_nodes(cluster: Any) -> Iterator[str]:
    """The address of a cluster of two nodes, which this process has joined."""
    cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=STORE)
    runtime.connect(cluster.address)
    yield cluster.address
    runtime.disconnect()


def test_nothing_is_spilled_although_models_are_slow(two_nodes: str):
    """In all 1.2 GB of pixels pass two object stores of 200 MB, and those that are ready would fill them."""

    def take_time(stage: Stage, _items: Sequence[Item]) -> None:
        time.sleep(0.3 * (stage.role != "media"))

    recipe = parse_recipe({"composition": "T2I"})
    clips = [f"clip{number}" for number in range(CLIPS)]
    ended, _ = run(recipe, clips, _worker(FRAMES, SIZE_PX, take_time), FRAMES)
    memory = [str(BIN / "ray"), "memory", "--stats-only", "--address", two_nodes]
    said = subprocess.run(memory, env=OPEN, capture_output=True, text=True, check=True).stdout
    assert [end.failure for end in ended] == [None] * CLIPS
    assert "Aggregate object store stats across all nodes" in said
    assert "Spilled" not in said


@pytest.mark.parametrize(("clips", "frames"), [(8, 8), (1, 64)], ids=["clips", "segments of a clip"])
def test_both_models_work_at_once(clips: int, frames: int, two_nodes: str, tmp_path: Path):
    """The first T2V call goes on only when a T2I call is under way, and that one when it has been seen: they meet,
    however slow a process is, unless one model waits for all that the other has to do."""
    settings = {"t2v": {"window": 8, "overlap": 4}, "runtime": {"segment_frames": 8}}
    recipe = parse_recipe({"composition": "T2I+[T2V]+T2I", **settings})
    ended, loop = run(recipe, [f"clip{n}" for n in range(clips)], _worker(frames, 32, _meeting(tmp_path)), 8)
    assert [end.failure for end in ended] == [None] * clips
    t2i, t2v = ((tmp_path / role).read_text().split() for role in ("t2i", "t2v"))
    assert t2i[0] != t2v[0], "in two processes"
    assert t2i[1] != t2v[1], "on two clips or segments"
    assert loop.timeline.overlap_s() > 0


def run(recipe: Recipe, clips: Sequence[str], worker: type[actors.Worker], call: int) -> tuple[list[Finished], Loop]:
    """A run over such clips, with calls of so many frames."""
    ended = list[Finished]()
    placement = runtime.place(recipe, runtime.nodes(), None, None)
    policy = Policy(
        path=path(recipe), pools=placement.pools, call_frames={"t2i": call, "t2v": call},
        budget_bytes=placement.budget_bytes, lookahead_clips=len(clips), stall_s=120.0, timeout_s=120.0,
    )  # fmt: skip
    loop = Loop(
        recipe=recipe, policy=policy, placement=placement, place=lambda: placement, output_uri=str, parts_uri=str,
        clips=(Clip(id=name, uri="", prompt="", seed=0) for name in clips), finished=ended.append,
        on_tick=lambda _: None, worker=worker,
    )  # fmt: skip
    loop.run()
    return ended, loop


def _meeting(folder: Path) -> Act:
    """Lets the first T2V call and a T2I call of another process wait for each other; each leaves who it was."""

    def first(role: str, items: Sequence[Item]) -> bool:
        try:
            with (folder / role).open("x") as file:
                file.write(f"{os.getpid()} {items[0].clip.id}/{items[0].number}")
        except FileExistsError:
            return False
        return True

    def act(stage: Stage, items: Sequence[Item]) -> None:
        if stage.role == "t2v" and first("t2v", items):
            while not (folder / "t2i").exists():
                time.sleep(0.01)
            (folder / "met").touch()
            time.sleep(0.05)
        elif stage.role == "t2i" and (folder / "t2v").exists() and first("t2i", items):
            while not (folder / "met").exists():
                time.sleep(0.01)
            time.sleep(0.05)

    return act


def _worker(frames: int, size_px: int, act: Act) -> type[actors.Worker]:
    """A worker whose stages do something and make frames of the right size."""

    class Stages:
        def __init__(self, recipe: Any) -> None:
            self.recipe = recipe

        def run(self, stage: Stage, items: Sequence[Item], inputs: list[Arrays]) -> list[Result]:
            act(stage, items)
            return [self.result(stage, item) for item in items]

        def result(self, stage: Stage, item: Item) -> Result:
            if stage.name == "probe":
                facts = constant_rate(frames, size_px, size_px, Fraction(24))
                size = measure(self.recipe, facts, item.budget_bytes)[0]
                return Result(arrays={}, probed=Probed(facts=facts, size=size, parts=""))
            count = len(item.segments.span(item.number))
            pixels_FHW3 = np.zeros((count, size_px, size_px, 3), np.uint8)
            arrays: Arrays = {name: pixels_FHW3 if name == "frames" else np.zeros(count, bool) for name in stage.gives}
            return Result(arrays=arrays, row=None if stage.gives else {})

    class Fake(actors.Worker):
        def prepare(self, role: Any) -> None:
            """There is nothing to import."""

        def load_runner(self, role: Any) -> Any:
            return Stages(self._recipe)

    return Fake
