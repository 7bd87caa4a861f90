import json
import threading
from collections.abc import Iterator

import fsspec
import pytest

from evs_batch.spec.errors import OutputError
from evs_batch.store import lease, ledger

FOLDER = "memory://leases/out"
FILE = "/leases/out/_run/lease.json"


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    for name, value in {"RENEW_S": 0.05, "DEAD_S": 0.5, "SETTLE_S": 0.01}.items():
        monkeypatch.setattr(lease, name, value)
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()


def test_a_second_driver_is_refused_by_name_while_the_first_one_works(bucket: fsspec.AbstractFileSystem):
    with (
        ledger.exclusive(FOLDER, (1, 1)),
        pytest.raises(OutputError, match=r"is in use by a driver on \S+, process \d+; wait"),
        ledger.exclusive(FOLDER, (1, 1)),
    ):
        pass
    assert not bucket.exists(FILE), "and leaves no trace"
    with ledger.exclusive(FOLDER, (1, 1)):
        assert bucket.exists(FILE)


@pytest.mark.parametrize("host", [None, "elsewhere"])
def test_who_was_killed_does_not_hold_it_for_ever(host: str | None, bucket: fsspec.AbstractFileSystem):
    dead = {**lease._record(), "pid": 2**22 + 1}  # more than a process can have
    bucket.pipe_file(FILE, json.dumps({**dead, **({"host": host} if host else {})}).encode())
    with ledger.exclusive(FOLDER, (1, 1)):
        assert json.loads(bucket.cat_file(FILE))["owner"] != dead["owner"]


def test_of_two_that_begin_at_once_one_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease, "SETTLE_S", 0.3)
    outcomes, barrier, over = list[str](), threading.Barrier(2), threading.Event()

    def drive() -> None:
        barrier.wait()
        try:
            with ledger.exclusive(FOLDER, (1, 1)):
                outcomes.append("held")
                over.wait(5)
        except OutputError:
            outcomes.append("refused")
            over.set()

    drivers = [threading.Thread(target=drive) for _ in range(2)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert sorted(outcomes) == ["held", "refused"]
