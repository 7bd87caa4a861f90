"""What the rows of an evaluation say together."""

# N rows

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from evs_batch.evaluate.overall import overall_of
from evs_batch.quality.choice import SOURCE, Choice
from evs_batch.spec.errors import RunError

RESAMPLES = 2000
LEVEL = 0.95
SEED = 0  # the same rows give the same interval
OF_OVERALL = ("motion_smoothness", "subject_consistency", "aesthetic", "dover")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Line:
    """Means of one metric over `rows` rows; `low` to `high` is the 95% bootstrap interval of the difference.

    Where a metric has no value for any source, as for one of another size than the clean video, only `result` is there.
    """

    metric: str
    source: float | None
    result: float
    difference: float | None
    low: float | None
    high: float | None
    rows: int


def summarise(rows: pa.Table, choice: Choice) -> list[Line]:
    """A line for each metric that any row has."""
    lines = [_line(name, _numbers(rows, name), _numbers(rows, SOURCE + name)) for name in choice.metrics]
    found = [line for line in lines if line is not None]
    return found + (_overall(found) if set(OF_OVERALL) <= set(choice.learned) else [])


def bootstrap_interval(values_N: np.ndarray) -> tuple[float, float]:
    """The percentile interval of the mean at LEVEL (Efron 1979)."""
    rng = np.random.default_rng(SEED)
    means = [np.mean(rng.choice(values_N, len(values_N))) for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _line(metric: str, result_N: np.ndarray, source_N: np.ndarray) -> Line | None:
    """Both means are over the rows that have both values, so that the difference is theirs."""
    has_result, pairs = np.isfinite(result_N), np.isfinite(result_N) & np.isfinite(source_N)
    if not has_result.any():
        return None
    if not pairs.any():
        mean, count = float(np.mean(result_N[has_result])), int(has_result.sum())
        return Line(metric=metric, source=None, result=mean, difference=None, low=None, high=None, rows=count)
    result, source = result_N[pairs], source_N[pairs]
    low, high = bootstrap_interval(result - source)
    return Line(
        metric=metric, source=float(np.mean(source)), result=float(np.mean(result)),
        difference=float(np.mean(result - source)), low=low, high=high, rows=int(pairs.sum()),
    )  # fmt: skip


def _overall(lines: Sequence[Line]) -> list[Line]:
    """The paper's score of the set; it is of means, so it has no interval."""
    known = {line.metric: line for line in lines if line.metric in OF_OVERALL and line.source is not None}
    if len(known) < len(OF_OVERALL):
        return []
    means = {side: {name: getattr(line, side) for name, line in known.items()} for side in ("source", "result")}
    try:
        score = overall_of(means, "source")
    except RunError as error:
        logger.warning("no overall score: %s", error)
        return []
    source, result, rows = score["source"], score["result"], min(line.rows for line in known.values())
    difference = result - source
    return [Line(metric="overall", source=source, result=result, difference=difference, low=None, high=None, rows=rows)]


def _numbers(rows: pa.Table, column: str) -> np.ndarray:
    """A column in float64, null as nan."""
    return rows[column].to_numpy().astype(np.float64)
