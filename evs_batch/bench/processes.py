"""Enhancers in processes of their own, each with its part of the cores, as a job's workers are."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from evs_batch.runtime.memory import keep_memory

if TYPE_CHECKING:  # torch must not be there before its settings are
    import numpy as np

    from evs_batch.spec.recipe import Recipe
    from evs_batch.spec.work import Clip

_enhancers: list[Any] = []  # of this process


class Processes:
    """So many processes that enhance calls of clips."""

    def __init__(self, recipe: "Recipe", count: int, threads: int) -> None:
        self._pool = ProcessPoolExecutor(count, get_context("spawn"), _load, (recipe, threads))

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __call__(self, calls: Sequence[tuple[Sequence["np.ndarray"], Sequence["Clip"]]]) -> list["np.ndarray"]:
        """The clips of all calls, in their order; each call is videos (F, H, W, 3) uint8 and what is asked of them."""
        return [video for made in self._pool.map(_enhance, calls) for video in made]


def _load(recipe: "Recipe", threads: int) -> None:
    os.environ |= {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}  # as `actors.Worker` has them
    keep_memory()
    _enhancers.append(import_module("evs_batch.stages.inline").load_enhancer(recipe, threads))


def _enhance(call: tuple[Sequence["np.ndarray"], Sequence["Clip"]]) -> list["np.ndarray"]:
    return _enhancers[0](*call)
