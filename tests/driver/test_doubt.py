from types import SimpleNamespace
from typing import Any

import pytest

from evs_batch.driver.doubt import ALIKE, Doubt
from evs_batch.spec.errors import RunError


def row(name: str) -> Any:
    return SimpleNamespace(id=name)


def failed(error_type: str = "MediaError", stage: str = "probe") -> dict[str, Any]:
    return {"status": "failed", "error_type": error_type, "error_stage": stage, "error_message": "no credentials"}


GOOD = {"status": "success", "error_type": None}


def names(settled: list[Any]) -> list[str]:
    return [row.id for row, _ in settled]


def test_failures_wait_for_the_first_success():
    doubt = Doubt(ends_run=True)
    assert doubt.settle(row("a"), failed()) == []
    assert names(doubt.settle(row("b"), GOOD)) == ["a", "b"]
    assert names(doubt.settle(row("c"), failed())) == ["c"], "from now on it is the rows"


def test_if_the_first_rows_all_fail_alike_the_run_ends_and_none_of_them_is_committed():
    doubt = Doubt(ends_run=True)
    for number in range(ALIKE - 1):
        assert doubt.settle(row(str(number)), failed()) == []
    with pytest.raises(RunError, match=r"16 rows: failed one after the other in probe.*no credentials.*not committed"):
        doubt.settle(row("last"), failed())
    assert doubt.release() == []


def test_different_failures_are_the_rows_own():
    doubt = Doubt(ends_run=True)
    for number in range(3 * ALIKE):
        doubt.settle(row(str(number)), failed("MediaError" if number % 2 else "ValueError"))
    assert len(doubt.release()) == 1


def test_a_storage_that_refuses_ends_a_run_at_any_time():
    doubt = Doubt(ends_run=True)
    doubt.settle(row("good"), GOOD)
    for number in range(ALIKE - 1):
        doubt.settle(row(str(number)), failed("StorageError", "encode"))
    assert len(doubt.settle(row("good"), GOOD)) == ALIKE, "it was back in time"
    for number in range(ALIKE - 1):
        doubt.settle(row(str(number)), failed("StorageError", "encode"))
    with pytest.raises(RunError):
        doubt.settle(row("last"), failed("StorageError", "encode"))


def test_who_wants_every_row_to_fail_can_have_it():
    doubt = Doubt(ends_run=False)
    assert sum(len(doubt.settle(row(str(number)), failed())) for number in range(100)) == 100
