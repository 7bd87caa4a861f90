import pytest

from evs_batch.scheduling.events import FailureKind as Kind
from evs_batch.scheduling.retry import decide


@pytest.mark.parametrize(
    ("kind", "clips", "attempts", "losses", "action"),
    [
        (Kind.ERROR, 4, 1, 0, "split"),
        (Kind.WORKER_DIED, 2, 3, 0, "split"),
        (Kind.OUT_OF_MEMORY, 4, 1, 0, "split"),
        (Kind.BAD_INPUT, 4, 1, 0, "split"),
        (Kind.BAD_INPUT, 1, 1, 0, "fail"),
        (Kind.TOO_LARGE, 1, 1, 0, "fail"),
        (Kind.ERROR, 1, 1, 9, "retry"),
        (Kind.ERROR, 1, 3, 0, "fail"),
        (Kind.DATA_LOST, 4, 1, 0, "split"),
        (Kind.DATA_LOST, 1, 3, 19, "restart"),
        (Kind.DATA_LOST, 1, 3, 20, "fail"),
    ],
)
def test_the_table_of_the_policy(kind: Kind, clips: int, attempts: int, losses: int, action: str):
    decision = decide(kind, clips, attempts, max_attempts=3, losses=losses)
    assert decision.action == action
    assert str(kind) in decision.reason
