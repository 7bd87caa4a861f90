"""All rows of an output folder, measured by a pool of processes."""

import logging
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from evs_batch.evaluate.flow import INSTALL, has_opencv
from evs_batch.quality.choice import Choice
from evs_batch.quality.measure import Task, measure, prepare
from evs_batch.quality.summary import Line, summarise
from evs_batch.quality.table import Table, open_table
from evs_batch.quality.tasks import Tasks
from evs_batch.spec.errors import RunError
from evs_batch.store import storage

TASKS_PER_WORKER = 2  # one at work, one ready
SAVE_EVERY_S, SAY_EVERY_S = 60.0, 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How an evaluation ended. `rows` counts measured rows, `failed` those of them with an error, as in `example`."""

    uri: str
    lines: list[Line]
    rows: int
    skipped: int
    failed: int
    example: str | None

    @property
    def failed_fraction(self) -> float:
        return self.failed / self.rows if self.rows else 0.0


def evaluate(output: str, choice: Choice, workers: int, stop_asked: Callable[[], bool] = lambda: False) -> Evaluation:
    """Measure every successful row of a run that is not measured yet, and sum up all of them.

    Raises OutputError and ManifestError before anything is measured, ModelError when a model cannot be loaded, RunError
    when a worker process dies. What is measured is saved, whatever ends it.
    """
    tasks = Tasks(storage.absolute(output), choice.reference)
    if not has_opencv():
        logger.warning("warping_error is left out: optical flow needs OpenCV, %s", INSTALL)
    table = open_table(tasks.folder, pa.array(tasks.ids(), pa.string()), choice)
    held = table.holds()
    todo = (task for task in tasks if held.get(task.id) != task.output_sha256)
    try:
        _measure_all(table, _measured(todo, choice, workers, stop_asked), len(held))
        for row in tasks.failed():
            table.add(row)
    finally:
        table.save()
    return _ended(table, choice, len(held))


def _measure_all(table: Table, rows: Iterator[dict[str, Any]], held: int) -> None:
    saved_s = said_s = time.monotonic()
    for count, row in enumerate(rows, 1):
        table.add(row)
        now_s = time.monotonic()
        if now_s - said_s >= SAY_EVERY_S:
            said_s = now_s
            logger.info("%d of %d rows measured", held + count, len(table.ids))
        if now_s - saved_s >= SAVE_EVERY_S:
            saved_s = now_s
            table.save()


def _measured(
    todo: Iterator[Task], choice: Choice, workers: int, stop_asked: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    """Rows in the order of their tasks. Few are under way at a time, so memory does not grow with the manifest."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    waiting = deque()
    # Not forked: the libraries of the parent have threads.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=prepare, initargs=(threads,))
    try:
        for task in todo:
            if stop_asked():
                break
            waiting.append(pool.submit(measure, task, choice))
            if len(waiting) >= workers * TASKS_PER_WORKER:
                yield waiting.popleft().result()
        while waiting:
            future = waiting.popleft()
            if not (stop_asked() and future.cancel()):
                yield future.result()
    except BrokenProcessPool as error:
        if not stop_asked():  # a signal to the whole group ends the workers too
            raise RunError(
                "a worker process", "died, perhaps of too little memory", "run again with fewer --workers: it goes on"
            ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _ended(table: Table, choice: Choice, skipped: int) -> Evaluation:
    rows = table.rows()
    errors = rows["error"].drop_null()
    return Evaluation(
        uri=table.uri,
        lines=summarise(rows, choice),
        rows=len(rows) - rows["output_sha256"].null_count,
        skipped=skipped,
        failed=len(errors),
        example=errors[0].as_py() if len(errors) else None,
    )
