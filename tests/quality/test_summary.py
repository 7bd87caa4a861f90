import numpy as np
import pyarrow as pa
import pytest

from evs_batch.quality.choice import Choice
from evs_batch.quality.summary import OF_OVERALL, bootstrap_interval, summarise

FREE = Choice()


def rows(**columns: list[float | None]) -> pa.Table:
    """A table of metrics; the columns that are left out are null."""
    count = len(next(iter(columns.values())))
    names = [prefix + name for name in [*FREE.metrics, *OF_OVERALL] for prefix in ("", "source_")]
    cells = {name: columns.get(name, [None] * count) for name in names}
    return pa.table({name: pa.array(values, pa.float64()) for name, values in cells.items()})


def test_a_line_has_both_means_and_their_difference_over_the_rows_that_have_both():
    (line,) = summarise(rows(sharpness=[3.0, 5.0, 99.0], source_sharpness=[1.0, 2.0, None]), FREE)
    assert (line.metric, line.source, line.result, line.difference, line.rows) == ("sharpness", 1.5, 4.0, 2.5, 2)
    assert line.low is not None
    assert line.high is not None
    assert 2.0 <= line.low <= 2.5 <= line.high <= 3.0


def test_without_any_value_of_a_source_there_is_the_result_alone():
    (line,) = summarise(rows(sharpness=[3.0, 5.0]), FREE)
    assert (line.source, line.result, line.difference, line.rows) == (None, 4.0, None, 2)


def test_nothing_measured_is_no_line():
    assert summarise(rows(sharpness=[None]), FREE) == []


def test_the_interval_narrows_with_the_rows_and_is_the_same_every_time():
    values = np.random.default_rng(1).normal(1, 1, 400)
    low, high = bootstrap_interval(values)
    # 1.96 standard errors of the mean on either side
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)
    assert low < values.mean() < high
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(np.array([2.0])) == (2.0, 2.0)


def test_the_metrics_of_the_paper_have_its_overall_score():
    source = {"motion_smoothness": 0.95, "subject_consistency": 0.90, "aesthetic": 5.0, "dover": 50.0}
    measured = {f"source_{name}": [value] for name, value in source.items()}
    better = {name: [value * 1.02] for name, value in source.items()}
    *_, line = summarise(rows(**measured, **better), Choice(learned=OF_OVERALL))
    assert line.metric == "overall"
    assert line.difference is not None
    assert line.difference > 0
    assert line.low is None


def test_no_overall_score_where_the_sources_are_at_the_top_of_its_range(caplog: pytest.LogCaptureFixture):
    top = {"motion_smoothness": 0.99, "subject_consistency": 0.99, "aesthetic": 6.0, "dover": 95.0}
    same = {name: [value] for name, value in top.items()}
    lines = summarise(
        rows(**same, **{f"source_{name}": value for name, value in same.items()}), Choice(learned=OF_OVERALL)
    )
    assert [line.metric for line in lines] == list(OF_OVERALL)
    assert "no overall score" in caplog.text
