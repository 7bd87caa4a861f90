import pytest

from evs_batch.scheduling.events import FailureKind as Kind
from evs_batch.scheduling.retry import decide


@pytest.mark.parametrize(
    ("kind", "clips", "attempts", "action"),
    [
        (Kind.ERROR, 4, 1, "split"),
        (Kind.WORKER_DIED, 2, 3, "split"),
        (Kind.OUT_OF_MEMORY, 4, 1, "split"),
        (Kind.BAD_INPUT, 4, 1, "split"),
        (Kind.BAD_INPUT, 1, 1, "fail"),
        (Kind.TOO_LARGE, 1, 1, "fail"),
        (Kind.ERROR, 1, 1, "retry"),
        (Kind.ERROR, 1, 3, "fail"),
        (Kind.DATA_LOST, 4, 1, "restart"),
        (Kind.DATA_LOST, 1, 3, "fail"),
    ],
)
def test_the_table_of_the_policy(kind: Kind, clips: int, attempts: int, action: str):
    decision = decide(kind, clips, attempts, max_attempts=3)
    assert decision.action == action
    assert str(kind) in decision.reason
