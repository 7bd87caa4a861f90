"""The paper's jobs, ours against the plain script: the same noise, the same weights, by turns."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.flop_counter import FlopCounterMode

from evs_batch.algo.noise import frame_noise
from evs_batch.bench.device import plain, weights
from evs_batch.evaluate.reference import psnr
from evs_batch.models.hardware import device
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Clip
from evs_batch.stages.inline import Enhancer, load_enhancer
from evs_batch.store.recipes import load_recipe

JOBS: Mapping[str, tuple[int, int]] = {"VC2": (320, 512), "AD2": (512, 512)}  # sides of the source in pixels
EVS = "T2I+[T2V]+T2I"
COMPOSITIONS = ("T2I", "T2V", "T2I+T2V", EVS)
CLIP = Clip(id="clip", uri="", prompt="a red star over the sea", seed=23)
MATRIX, PRODUCTS = 8192, 13  # the side of a matrix; how many products, of which the first few warm up

Way = Callable[[], np.ndarray]


def compare(
    folder: Path,
    size: str = "full",
    jobs: Mapping[str, tuple[int, int]] = JOBS,
    compositions: Sequence[str] = COMPOSITIONS,
    *,
    frames: int = 16,
    repeats: int = 3,
    changes: Sequence[str] = (),
) -> Iterator[dict[str, Any]]:
    """One row for each job, composition and way to run it; weights are written to `folder` if there are none.

    `seconds` and the rates are medians; `memory_gb` is what a run takes beside the weights; `psnr_db` compares both
    ways. Operations are counted once and are those of the plain script.
    """
    if not (folder / "motion").is_dir():
        weights.write(folder, size, device())
    script = plain.load(folder, device(), torch.float16 if torch.cuda.is_available() else torch.float32)
    loaded, peak = load_enhancer(recipe(folder, EVS, changes)), peak_tflops(script.dtype)
    for job, (height, width) in jobs.items():
        video = moving_blots(frames, height, width)
        for composition in compositions:
            ours = _composed(loaded, recipe(folder, composition, changes))
            ways: dict[str, Way] = {
                "evs-batch": partial(_enhanced, ours, video),
                "diffusers": partial(script, video, CLIP.prompt, ours.recipe, noise),
            }
            for way, measured in _by_turns(ways, repeats).items():
                share = measured["tflops"] / peak
                yield {"job": job, "composition": composition, "way": way, **measured, "of_peak": share}


def parts(folder: Path, sides: tuple[int, int], *, frames: int = 16, changes: Sequence[str] = ()) -> dict[str, float]:
    """Seconds of the parts of one clip of ours. To wait for the device after each part costs little."""
    enhancer, seconds = load_enhancer(recipe(folder, EVS, changes)), defaultdict[str, float](float)
    video = moving_blots(frames, *sides)
    _enhanced(enhancer, video)
    t2i: Any = enhancer.runners["t2i"]
    t2v: Any = enhancer.runners["t2v"]
    for name, part, method in (
        ("encode", t2i.vae, "_encode"), ("t2i", t2i.t2i, "_call"), ("t2v", t2v.t2v, "_call"),
        ("decode", t2i.vae, "_decode"),
    ):  # fmt: skip
        setattr(part, method, _clocked(getattr(part, method), name, seconds))
    _, total_s = timed(partial(_enhanced, enhancer, video))
    return {**seconds, "between": total_s - sum(seconds.values()), "total": total_s}


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


def noise(role: str, like_FChw: Tensor) -> Tensor:
    """What our stages draw for this clip."""
    count, channels, height, width = like_FChw.shape
    noise = frame_noise(CLIP.seed, CLIP.id, f"{role}/0", range(count), (channels, height, width))
    return noise.to(like_FChw.device)


def _by_turns(ways: Mapping[str, Way], repeats: int) -> dict[str, dict[str, float]]:
    taken_s, memory_gb, made = defaultdict[str, list[float]](list), dict[str, float](), dict[str, np.ndarray]()
    for repeat in range(repeats + 1):  # the first one warms up
        for way, call in ways.items():
            held_gb = _forget_peak()
            made[way], seconds = timed(call)
            memory_gb[way] = _peak_gb() - held_gb
            taken_s[way] += [seconds] if repeat else []
    with FlopCounterMode(display=False) as counter:
        ways["diffusers"]()
    tflop = counter.get_total_flops() / 1e12
    likeness_db = psnr(made["evs-batch"], made["diffusers"])
    return {
        way: {
            "seconds": median(seconds), "tflop": tflop, "tflops": tflop / median(seconds), "memory_gb": memory_gb[way],
            "psnr_db": likeness_db,
        }
        for way, seconds in taken_s.items()
    }  # fmt: skip


def _composed(enhancer: Enhancer, recipe: Recipe) -> Enhancer:
    """The same models in another composition."""
    runners: dict[Any, Any] = dict(enhancer.runners)
    return Enhancer(recipe, {role: replace(runner, recipe=recipe) for role, runner in runners.items()})


def _enhanced(enhancer: Enhancer, video: np.ndarray) -> np.ndarray:
    return enhancer([video], [CLIP])[0]


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and the seconds until the device has done it."""
    _wait()
    began_s = time.perf_counter()
    made = call()
    _wait()
    return made, time.perf_counter() - began_s


def _clocked(call: Callable[..., Any], name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        made, taken_s = timed(partial(call, *args))
        seconds[name] += taken_s
        return made

    return run


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _forget_peak() -> float:
    """What is held now, in GB."""
    if not torch.cuda.is_available():
        return 0.0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated() / 1e9


def _peak_gb() -> float:
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0
