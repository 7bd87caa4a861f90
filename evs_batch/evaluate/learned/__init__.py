"""Metrics of the EVS paper that need trained networks, from weights that the user gives.

A new metric is one file with `load`, one line in `LEARNED` and its weights in `files.WEIGHTS`.
torch is imported when a metric is loaded, not before.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import numpy as np

from evs_batch.evaluate.learned.files import WEIGHTS

Metric = Callable[[np.ndarray], float]
Load = Callable[[Path], Metric]


def _lazy(module: str) -> Load:
    return lambda folder: import_module(f"{__name__}.{module}").load(folder)


LEARNED: Mapping[str, Load] = {
    "motion_smoothness": _lazy("motion_smoothness"),
    "subject_consistency": _lazy("subject_consistency"),
    "dover": _lazy("dover"),
    "aesthetic": _lazy("aesthetic"),
}


def present(folder: Path) -> list[str]:
    """The metrics whose weights are in the folder; unconverted pickles count, so that `load` can refuse them aloud."""
    return [name for name in LEARNED if all(file.found_in(folder) for file in WEIGHTS[name])]


__all__ = ["LEARNED", "Load", "Metric", "present"]
