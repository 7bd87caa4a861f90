"""The demo's models on this machine's cores, as a job's workers run them, against a plain diffusers script in fp32."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch

from evs_batch.bench.device import plain
from evs_batch.bench.domain import FRAMES, Sample, sample
from evs_batch.bench.processes import Processes
from evs_batch.evaluate.reference import psnr
from evs_batch.models.zoo import TINY
from evs_batch.spec.work import Clip
from evs_batch.store.recipes import load_recipe

PLAIN = "plain script"
COMPILED = ("runtime.compile=static",)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How clips are shared out: to so many processes, each with its part of the cores, so many clips in a call."""

    processes: int
    clips_per_call: int
    changes: tuple[str, ...] = ()


def settings(cores: int, most: int, clips: int) -> Mapping[str, Setting]:
    """From nearest to the plain script to what a job does, one thing at a time; calls are such that all cores work."""
    full = min(most, max(1, clips // cores))
    return {
        "a clip at a time": Setting(processes=1, clips_per_call=1),
        "full calls": Setting(processes=1, clips_per_call=full),
        "a process for each core": Setting(processes=cores, clips_per_call=full),
        "the same, compiled": Setting(processes=cores, clips_per_call=full, changes=COMPILED),
    }


@dataclass
class Way:
    """One way to enhance all clips, how long it took, and what came out."""

    call: Callable[[], list[np.ndarray]]
    seconds: list[float] = field(default_factory=list)
    first_s: float = 0.0
    made: list[np.ndarray] = field(default_factory=list)

    def run(self) -> None:
        """Once; the first time loads, warms up, and compiles."""
        began_s = time.perf_counter()
        self.made = self.call()
        taken_s = time.perf_counter() - began_s
        if self.first_s:
            self.seconds.append(taken_s)
        else:
            self.first_s = taken_s


def compare(clips: int, repeats: int, recipe: str, changes: Sequence[str], cores: int) -> Iterator[dict[str, Any]]:
    """One row for each way, by turns on the same clips: `seconds` of one clip, and `speedup` over the plain script.

    They are medians; `first_s` is the first turn, for all clips. `psnr_db` is how like the script's clips the least
    like one is. Video files are neither decoded nor encoded.
    """
    asked, samples = load_recipe(recipe, changes), [sample(seed) for seed in range(clips)]
    torch.set_num_threads(cores)
    script = plain.load(TINY, TINY / "motion", torch.device("cpu"), torch.float32)
    most = max(1, asked.runtime.batch_frames // FRAMES)
    ways = {PLAIN: Way(lambda: [script(s.degraded, s.clip.prompt, asked, plain.noise_of(s.clip)) for s in samples])}
    with ExitStack() as running:
        for name, setting in settings(cores, most, clips).items():
            ours = load_recipe(recipe, [*changes, *setting.changes])
            processes = running.enter_context(Processes(ours, setting.processes, cores // setting.processes))
            ways[name] = Way(partial(processes, _calls(samples, setting.clips_per_call)))
        for _ in range(repeats + 1):
            for way in ways.values():
                way.run()
    yield from (_row(name, way, ways[PLAIN]) for name, way in ways.items())


def _row(name: str, way: Way, script: Way) -> dict[str, Any]:
    seconds, count = median(way.seconds), len(way.made)
    likeness = min(psnr(ours, theirs) for ours, theirs in zip(way.made, script.made, strict=True))
    return {
        "setting": name,
        "seconds": seconds / count,
        "clips_per_s": count / seconds,
        "speedup": median(script.seconds) / seconds,
        "first_s": way.first_s,
        "psnr_db": likeness,
    }


def _calls(samples: Sequence[Sample], size: int) -> list[tuple[list[np.ndarray], list[Clip]]]:
    parts = [samples[at : at + size] for at in range(0, len(samples), size)]
    return [([s.degraded for s in part], [s.clip for s in part]) for part in parts]
