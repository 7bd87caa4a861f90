"""All metrics of one row, in a worker process."""

# F frames, H/W pixels, 3 colour channels

import math
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from evs_batch.evaluate import FREE, REFERENCE, subject_consistency
from evs_batch.evaluate.flow import has_opencv
from evs_batch.media.decode import decode
from evs_batch.media.probe import probe
from evs_batch.quality.choice import SOURCE, SUBJECT, Choice
from evs_batch.spec.errors import EvsError, ModelError, printable
from evs_batch.spec.recipe import Output
from evs_batch.store import storage

UNREADABLE = (EvsError, OSError, ValueError, MemoryError)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One successful row of an output manifest: its result, and where its source and its clean original are."""

    id: str
    output_uri: str
    output_sha256: str
    source_uri: str
    reference_uri: str | None


def prepare(threads: int) -> None:
    """Set up a worker process with its share of the cores; Ctrl-C is for its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read by torch when it is imported
    if has_opencv():
        import cv2  # noqa: PLC0415 (optional)

        cv2.setNumThreads(threads)


def measure(task: Task, choice: Choice) -> dict[str, Any]:
    """The row of the table: metrics of the result and of its source, None where they do not apply, and what went wrong.

    Raises ModelError: a model that cannot be loaded is wrong for all rows.
    """
    row = _Row(task)
    result, source = row.video("result", task.output_uri), row.video("source", task.source_uri)
    clean = row.video("reference", task.reference_uri) if task.reference_uri else None
    if result is not None:
        row.fill("", result, source, clean, choice)
    if source is not None:  # a source of another size than the clean video is no mistake: the recipe scales it up
        row.fill(SOURCE, source, source, clean if clean is not None and clean.shape == source.shape else None, choice)
    return row.finished()


@dataclass
class _Row:
    task: Task
    cells: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def video(self, name: str, uri: str) -> np.ndarray | None:
        """A decoded video (F, H, W, 3), None and an error if it cannot be."""
        try:
            return read(uri)
        except UNREADABLE as error:
            self.errors.append(f"{name} {uri}: {error}")
            return None

    def fill(
        self, prefix: str, video: np.ndarray, source: np.ndarray | None, clean: np.ndarray | None, choice: Choice
    ) -> None:
        if clean is not None:
            for name, against in REFERENCE.items():
                self._set(prefix + name, against, video, clean)
        if source is not None:
            for name, metric in FREE.items():
                self._set(prefix + name, metric, video, source)
        if choice.features:
            features = _features(choice.features)
            self._set(prefix + SUBJECT, lambda frames: subject_consistency(features(frames)), video)
        for name in choice.learned:
            assert choice.weights, "learned metrics come from a folder of weights"
            self._set(prefix + name, _learned(name, choice.weights), video)

    def _set(self, column: str, metric: Callable[..., float], *videos: np.ndarray) -> None:
        try:
            value = metric(*videos)
            self.cells[column] = value if math.isfinite(value) else None
        except ModelError:
            raise
        except ImportError:
            self.cells[column] = None  # said once, for all rows
        except Exception as error:  # models of users may raise anything, and other rows go on
            self.errors.append(f"{'source' if column.startswith(SOURCE) else 'result'}: {error}")

    def finished(self) -> dict[str, Any]:
        error = "; ".join(dict.fromkeys(self.errors)) or None
        identity = {"id": self.task.id, "output_uri": self.task.output_uri, "output_sha256": self.task.output_sha256}
        return {**identity, **self.cells, "error": error and printable(error)}


def read(uri: str) -> np.ndarray:
    """A whole video as displayed, (F, H, W, 3) uint8; raises MediaError."""
    with storage.open_input(uri) as file:
        facts = probe(file, Output(unfit="drop"))
        file.seek(0)
        return decode(file, facts)


@cache
def _features(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    from evs_batch.evaluate.features import load_features  # noqa: PLC0415 (it loads torch)

    return load_features(folder)


@cache
def _learned(name: str, weights: Path) -> Callable[[np.ndarray], float]:
    from evs_batch.evaluate.learned import LEARNED  # noqa: PLC0415 (it may load torch)

    return LEARNED[name](weights)
