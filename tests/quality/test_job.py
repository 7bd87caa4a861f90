"""The pool of processes, for real."""

import os
from pathlib import Path
from typing import Any

import pytest

from evs_batch.quality.choice import Choice
from evs_batch.quality.job import evaluate
from evs_batch.spec.errors import RunError
from tests.quality.builders import write_clip, write_run


class Deadly(Choice):
    """Kills the process that receives it, as running out of memory would."""

    def __reduce__(self) -> Any:
        return os._exit, (1,)


def test_what_is_measured_before_a_stop_is_kept_and_the_rest_follows(tmp_path: Path):
    output = write_run(tmp_path, [write_clip(tmp_path, name) for name in "abcd"])
    asked = iter([False, False, False])
    ended = evaluate(output, Choice(), 1, stop_asked=lambda: next(asked, True))
    assert 1 <= ended.rows < 4
    again = evaluate(output, Choice(), 2)
    assert (again.rows, again.skipped, again.failed) == (4, ended.rows, 0)
    assert [line.metric for line in again.lines] == ["sharpness", "warping_error"]


def test_a_worker_that_dies_ends_the_evaluation_with_the_way_out(tmp_path: Path):
    output = write_run(tmp_path, [write_clip(tmp_path, "a")])
    with pytest.raises(RunError, match="fewer --workers"):
        evaluate(output, Deadly(), 1)
