"""Rows that raise, hang, exit, crash or eat all memory, in calls with others."""

import ctypes
import math
import os
import resource
import time
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
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

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ROWS = int(os.environ.get("EVS_POISON", "100"))  # docs/reliability.md has the figures of 200
FRAMES, CALL_CLIPS = 8, 8
CAUSES = {
    "raise": "ValueError",
    "hang": "Hung",
    "exit": "WorkerDied",
    "crash": "WorkerDied",
    "bomb": "OutOfMemoryError",
}
POISON = {20 * number + 7: list(CAUSES)[number % len(CAUSES)] for number in range(ROWS // 20)}  # 5%


def test_exactly_the_poison_fails_each_with_its_cause(tmp_path: Path):
    """Innocent clips are in few calls more than without any poison: the halves of theirs, and those of lost workers."""
    names = [f"{POISON.get(number, 'good')}{number}" for number in range(ROWS)]
    recipe, ended = parse_recipe({"composition": "T2I"}), list[Finished]()
    runtime.connect(None)
    placement = runtime.place(recipe, runtime.nodes(), None, None)
    policy = Policy(
        path=path(recipe), pools=placement.pools, call_frames={"t2i": CALL_CLIPS * FRAMES}, timeout_s=2.0,
        budget_bytes=placement.budget_bytes, lookahead_clips=4 * CALL_CLIPS, max_attempts=2, stall_s=60.0,
    )  # fmt: skip
    loop = Loop(
        recipe=recipe, policy=policy, placement=placement, place=lambda: placement, output_uri=str, parts_uri=str,
        clips=(Clip(id=name, uri="", prompt="", seed=0) for name in names), finished=ended.append,
        on_tick=lambda _: None, worker=poisoned(tmp_path),
    )  # fmt: skip
    try:
        loop.run()
    finally:
        runtime.disconnect()
    assert Counter(end.clip.id for end in ended) == Counter(names), "each once"
    failures = {end.clip.id: end.failure for end in ended if end.failure}
    assert failures.keys() == {name for name in names if not name.startswith("good")}
    for name, failure in failures.items():
        cause = CAUSES[name.rstrip("0123456789")]
        assert failure.type == cause or (cause == "OutOfMemoryError" and "Memory" in failure.type), failure
    calls = Counter((tmp_path / "calls").read_text().split())
    extra = {name: calls[name] - 1 for name in names if name.startswith("good")}
    print(f"calls of innocent clips beyond the first: {Counter(extra.values())}")
    assert max(extra.values()) <= 2 * math.log2(CALL_CLIPS), "two poisoned calls at most"
    assert sum(count > 0 for count in extra.values()) <= len(POISON) * 2 * CALL_CLIPS


def poisoned(folder: Path) -> type[actors.Worker]:
    """A worker whose model goes wrong with the clips that are named so."""

    def take(name: str) -> None:
        with (folder / "calls").open("a") as file:
            file.write(name + "\n")

    def go_wrong(kind: str) -> None:
        if kind == "raise":
            raise ValueError("poison")
        if kind == "hang":
            time.sleep(1e6)
        if kind == "exit":
            os._exit(7)
        if kind == "crash":
            ctypes.string_at(0)
        if kind == "bomb":
            limit = resource.getrlimit(resource.RLIMIT_AS)
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 10**8, limit[1]))
            try:
                np.ones(10**9)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, limit)

    class Stages:
        def __init__(self, recipe: Any) -> None:
            self.recipe = recipe

        def run(self, stage: Stage, items: Sequence[Item], inputs: list[Arrays]) -> list[Result]:
            if stage.role != "media":
                for item in items:
                    take(item.clip.id)
                time.sleep(0.02)
                for item in items:
                    go_wrong(item.clip.id.rstrip("0123456789"))
            return [self.result(stage, item) for item in items]

        def result(self, stage: Stage, item: Item) -> Result:
            if stage.name == "probe":
                facts = constant_rate(FRAMES, 32, 32, Fraction(24))
                size = measure(self.recipe, facts, item.budget_bytes)[0]
                return Result(arrays={}, probed=Probed(facts=facts, size=size, parts=""))
            arrays: Arrays = {name: np.zeros((FRAMES, 32, 32, 3), np.uint8) for name in stage.gives}
            return Result(arrays=arrays, row=None if stage.gives else {})

    class Poisoned(actors.Worker):
        def prepare(self, role: Any) -> None:
            """There is nothing to import."""

        def load_runner(self, role: Any) -> Any:
            return Stages(self._recipe)

    return Poisoned
