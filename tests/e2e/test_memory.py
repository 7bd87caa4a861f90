"""What is in flight, on nodes with a small object store."""

import subprocess
import time
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from evs_batch.runtime import actors
from evs_batch.runtime import cluster as runtime
from evs_batch.runtime.loop import Finished, Loop
from evs_batch.scheduling.policy import Policy
from evs_batch.spec.recipe import parse_recipe
from evs_batch.spec.video import constant_rate
from evs_batch.spec.work import Clip, Stage, path
from evs_batch.stages.item import Arrays, Item, Probed, Result
from evs_batch.stages.worker import measure
from tests.e2e.conftest import BIN, OPEN, STORE

pytestmark = [pytest.mark.ray, pytest.mark.slow]
CLIPS, FRAMES, SIZE_PX = 24, 64, 512


def test_nothing_is_spilled_although_models_are_slow(cluster: Any):
    """In all 1.2 GB of pixels pass two object stores of 200 MB, and those that are ready would fill them."""
    cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=STORE)
    runtime.connect(cluster.address)
    recipe, ended = parse_recipe({"composition": "T2I"}), list[Finished]()
    placement = runtime.place(recipe, runtime.nodes(), None, None)
    policy = Policy(
        path=path(recipe), pools=placement.pools, call_frames={"t2i": FRAMES}, budget_bytes=placement.budget_bytes,
        lookahead_clips=CLIPS,
    )  # fmt: skip
    clips = (Clip(id=f"clip{number}", uri="", prompt="", seed=0) for number in range(CLIPS))
    loop = Loop(
        recipe=recipe, policy=policy, placement=placement, place=lambda: placement, output_uri=str, parts_uri=str,
        clips=clips, finished=ended.append, on_tick=lambda _: None, worker=_slow(),
    )  # fmt: skip
    try:
        loop.run()
        memory = [str(BIN / "ray"), "memory", "--stats-only", "--address", cluster.address]
        said = subprocess.run(memory, env=OPEN, capture_output=True, text=True, check=True).stdout
    finally:
        runtime.disconnect()
    assert [end.failure for end in ended] == [None] * CLIPS
    assert "Aggregate object store stats across all nodes" in said
    assert "Spilled" not in said


def _slow() -> type[actors.Worker]:
    """A worker whose stages make frames of the right size, and whose model takes its time."""

    class Stages:
        def __init__(self, recipe: Any) -> None:
            self.recipe = recipe

        def run(self, stage: Stage, items: Sequence[Item], inputs: list[Arrays]) -> list[Result]:
            time.sleep(0.3 * (stage.role != "media"))
            return [self.result(stage, item) for item in items]

        def result(self, stage: Stage, item: Item) -> Result:
            if stage.name == "probe":
                facts = constant_rate(FRAMES, SIZE_PX, SIZE_PX, Fraction(24))
                size = measure(self.recipe, facts, item.budget_bytes)[0]
                return Result(arrays={}, probed=Probed(facts=facts, size=size, parts=""))
            frames_FHW3 = np.zeros((FRAMES, SIZE_PX, SIZE_PX, 3), np.uint8)
            arrays: Arrays = {name: frames_FHW3 if name == "frames" else np.zeros(FRAMES, bool) for name in stage.gives}
            return Result(arrays=arrays, row=None if stage.gives else {})

    class Slow(actors.Worker):
        def prepare(self, role: Any) -> None:
            """There is nothing to import."""

        def load_runner(self, role: Any) -> Any:
            return Stages(self._recipe)

    return Slow
