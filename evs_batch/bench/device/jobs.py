"""The paper's jobs, ours in several settings against the plain script: the same noise, the same weights, by turns."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from evs_batch.bench.device import plain, weights
from evs_batch.bench.device.clock import Clock, timed
from evs_batch.bench.levers import levers
from evs_batch.evaluate.reference import psnr
from evs_batch.models.hardware import device
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Clip
from evs_batch.stages.inline import Enhancer, load_enhancer
from evs_batch.store.recipes import load_recipe

JOBS: Mapping[str, tuple[int, int]] = {"VC2": (320, 512), "AD2": (512, 512)}  # sides of the source in pixels
EVS = "T2I+[T2V]+T2I"
COMPOSITIONS = (EVS, "T2I", "T2V", "T2I+T2V")
COMPILED = ("runtime.compile=static",)
LOSSLESS: Mapping[str, Sequence[str]] = {"eager": (), "compiled": COMPILED}
PARTS = ("encode", "t2i", "t2v", "decode", "between", "total")
CLIP = Clip(id="clip", uri="", prompt="a red star over the sea", seed=23)
MATRIX, PRODUCTS = 8192, 13  # the side of a matrix; how many products, of which the first few warm up


@dataclass
class Way:
    """One way to run a job: how its parts are watched, and what was measured."""

    call: Callable[[], np.ndarray]
    clock: Clock
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    first_s: float = 0.0
    memory_gb: float = 0.0
    made: Any = None

    def run(self) -> None:
        """Once; the first time warms up, and compiles."""
        held_gb = _forget_peak()
        self.made = self.clock.time(self.call)
        self.memory_gb = _peak_gb() - held_gb
        if not self.first_s:
            self.first_s = self.clock.seconds["total"]
            return
        for part in PARTS:
            self.seconds[part].append(self.clock.seconds[part])


def settings_in(folder: Path) -> dict[str, Sequence[str]]:
    """Changes of a recipe by the name of the setting, for weights in a folder."""
    faster = levers(str(folder / weights.DECODER))
    return {**LOSSLESS, **{name: (*COMPILED, *changes) for name, changes in faster.items()}}


def compare(
    folder: Path,
    size: str = "full",
    jobs: Mapping[str, tuple[int, int]] = JOBS,
    compositions: Sequence[str] = COMPOSITIONS,
    settings: Sequence[str] = (),
    *,
    frames: int = 16,
    repeats: int = 3,
    changes: Sequence[str] = (),
) -> Iterator[dict[str, Any]]:
    """One row for each job, composition, setting and part; weights are written to `folder` if there are none.

    `seconds` and `plain_seconds` are medians, `first_s` is the first run, which compiles; `memory_gb` is what it takes
    beside the weights; `psnr_db` compares with the plain script; `matrix_tflops` is the peak.
    Operations are counted once, in the plain script. Of `settings`, all by default, those that change the result are
    run for EVS alone.
    """
    if not (folder / weights.DECODER).is_dir():
        weights.write(folder, size, device())
    asked = {name: more for name, more in settings_in(folder).items() if not settings or name in settings}
    script, of_script = plain.load(folder / "t2i", folder / "motion", device(), _dtype()), Clock()
    plain.watch(script, of_script)
    loaded = {name: _watched(load_enhancer(recipe(folder, EVS, (*more, *changes)))) for name, more in asked.items()}
    peak = peak_tflops(script.dtype)
    for job, sides in jobs.items():
        video = moving_blots(frames, *sides)
        for composition in compositions:
            chosen = {name: asked[name] for name in asked if composition == EVS or name in LOSSLESS}
            recipes = {name: recipe(folder, composition, (*more, *changes)) for name, more in chosen.items()}
            usual = recipe(folder, composition, changes)
            script_way = Way(partial(script, video, CLIP.prompt, usual, plain.noise_of(CLIP)), of_script)
            ways = {name: _way(*loaded[name], recipes[name], video) for name in chosen}
            for row in _by_turns(script_way, ways, repeats, peak):
                yield {"job": job, "composition": composition, **row}


def _by_turns(script: Way, ways: Mapping[str, Way], repeats: int, peak: float) -> Iterator[dict[str, Any]]:
    for _ in range(repeats + 1):
        for way in (script, *ways.values()):
            way.run()
    script.clock.count(script.call)
    for name, way in {"plain": script, **ways}.items():
        tflop = script.clock.tflop if name in ("plain", *LOSSLESS) else {}
        yield from ({"setting": name, **row} for row in _rows(way, script, tflop, peak))


def _rows(way: Way, script: Way, tflop: Mapping[str, float], peak: float) -> Iterator[dict[str, Any]]:
    """Without rates where `tflop` has no operations: of settings that do fewer than the plain script."""
    for part in PARTS:
        seconds = median(way.seconds[part])
        rate = tflop[part] / seconds if seconds and tflop.get(part) else None
        row = {"part": part, "seconds": seconds, "plain_seconds": median(script.seconds[part])}
        row |= {"tflops": rate, "share_of_peak": rate and rate / peak}
        if part == "total":
            row |= {"first_s": way.first_s, "memory_gb": way.memory_gb, "psnr_db": psnr(way.made, script.made)}
            row |= {"matrix_tflops": peak}
        yield row


def _way(enhancer: Enhancer, clock: Clock, recipe: Recipe, video: np.ndarray) -> Way:
    """The same models in the composition of a recipe."""
    runners: dict[Any, Any] = dict(enhancer.runners)
    composed = Enhancer(recipe, {role: replace(runner, recipe=recipe) for role, runner in runners.items()})
    return Way(lambda: composed([video], [CLIP])[0], clock)


def _watched(enhancer: Enhancer) -> tuple[Enhancer, Clock]:
    t2i: Any = enhancer.runners["t2i"]
    t2v: Any = enhancer.runners["t2v"]
    clock = Clock()
    for owner, method, part in (
        (t2i.vae, "_encode", "encode"), (t2i.t2i, "_call", "t2i"), (t2v.t2v, "_call", "t2v"),
        (t2i.decoder, "_decode", "decode"),
    ):  # fmt: skip
        clock.watch(owner, method, part)
    return enhancer, clock


def peak_tflops(dtype: torch.dtype) -> float:
    """The rate of a large matrix product on random values, in 10^12 operations a second."""
    side = MATRIX if torch.cuda.is_available() else MATRIX // 8
    a, b = (torch.randn(side, side, device=device(), dtype=dtype) for _ in range(2))
    taken_s = [timed(lambda: a @ b)[1] for _ in range(PRODUCTS)]
    return 2 * side**3 / median(taken_s[3:]) / 1e12


def recipe(folder: Path, composition: str, changes: Sequence[str] = ()) -> Recipe:
    """The paper's settings, on the models of a folder of `weights.write`."""
    t2i, motion = folder / "t2i", folder / "motion"
    models = [f"t2i.model={t2i}", f"t2v.base={t2i}", f"t2v.model={motion}", "t2i.attention=self"]
    return load_recipe("enhance", [f"composition={composition}", *models, *changes])


def moving_blots(frames: int, height: int, width: int) -> np.ndarray:
    """(F, H, W, 3) uint8, smooth as videos are."""
    coarse = np.random.default_rng(0).random((frames, 3, height // 16, width // 16), np.float32)
    smooth_F3HW = interpolate(torch.from_numpy(coarse), (height, width), mode="bicubic").clamp(0, 1)
    return (smooth_F3HW * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _dtype() -> torch.dtype:
    return torch.float16 if torch.cuda.is_available() else torch.float32


def _forget_peak() -> float:
    """What is held now, in GB."""
    if not torch.cuda.is_available():
        return 0.0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated() / 1e9


def _peak_gb() -> float:
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0
