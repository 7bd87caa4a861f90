import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from evs_batch.spec.errors import OutputError, StorageError
from evs_batch.store import lease, ledger, storage
from tests.e2e.conftest import wait_until

FOLDER = "memory://leases/out"
FILE = "/leases/out/_run/lease.json"


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    for name, value in {"RENEW_S": 0.05, "DEAD_S": 30.0, "SETTLE_S": 0.01}.items():
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
def test_who_was_killed_does_not_hold_it_for_ever(
    host: str | None, bucket: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lease, "DEAD_S", 0.5)
    dead = {**lease._here(), "owner": "x", "renewals": 7, "pid": 2**22 + 1}  # more than a process can have
    bucket.pipe_file(FILE, json.dumps({**dead, **({"place": [host, 0]} if host else {})}).encode())
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
                over.wait(30)
        except OutputError:
            outcomes.append("refused")
            over.set()

    drivers = [threading.Thread(target=drive) for _ in range(2)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert sorted(outcomes) == ["held", "refused"]


@pytest.mark.parametrize("folder", ["memory://leases/out", "{tmp_path}/out"])
def test_a_driver_of_all_rows_and_shards_of_other_numbers_keep_each_other_out(folder: str, tmp_path: Path):
    uri = folder.format(tmp_path=tmp_path)

    def refused(shard: tuple[int, int]) -> None:
        with pytest.raises(OutputError, match="is in use by"), ledger.exclusive(uri, shard):
            pass

    with ledger.exclusive(uri, (1, 2)):
        for shard in ((1, 1), (1, 3), (1, 2)):
            refused(shard)
        with ledger.exclusive(uri, (2, 2)):
            refused((1, 1))
    with ledger.exclusive(uri, (1, 1)):
        refused((1, 2))
    with ledger.exclusive(uri, (1, 3)):
        refused((1, 2))


def test_who_lost_its_lease_commits_nothing_more(bucket: fsspec.AbstractFileSystem):
    with ledger.exclusive(FOLDER, (1, 1)) as check:
        check()

        def lost() -> bool:
            try:
                check()
            except OutputError:
                return True
            return False

        book = ledger.open_ledger(FOLDER, {}, [], check=check)
        bucket.pipe_file(FILE, json.dumps({**lease._here(), "owner": "another", "renewals": 0}).encode())
        wait_until(lost)
        book.commit({"id": "a", "status": "success"})
        with pytest.raises(OutputError, match="another driver may do these rows now"):
            book.flush(force=True)
    assert not list(ledger.committed(FOLDER, ["id"]))
    assert json.loads(bucket.cat_file(FILE))["owner"] == "another", "it is not ours to remove"


def test_who_cannot_renew_its_lease_commits_nothing_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease, "SURE_S", 0.2)
    with ledger.exclusive(FOLDER, (1, 1)) as check:
        monkeypatch.setattr(storage, "write_bytes", lambda *_: (_ for _ in ()).throw(StorageError("s3", "is off", "")))
        time.sleep(0.4)
        with pytest.raises(OutputError, match="could not be renewed"):
            check()


def test_of_a_whole_driver_and_a_shard_that_begin_at_once_not_both_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease, "SETTLE_S", 0.3)
    barrier, over, outcomes, write = threading.Barrier(2), threading.Event(), list[str](), lease.Lease.write

    def both_have_looked(mine: lease.Lease) -> None:
        if not mine.record["renewals"]:
            barrier.wait(30)
        write(mine)

    def drive(shard: tuple[int, int]) -> None:
        try:
            with ledger.exclusive(FOLDER, shard):
                outcomes.append("held")
                over.wait(30)
        except OutputError:
            outcomes.append("refused")
            over.set()

    monkeypatch.setattr(lease.Lease, "write", both_have_looked)
    drivers = [threading.Thread(target=drive, args=(shard,)) for shard in ((1, 1), (1, 2))]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert len(outcomes) == 2
    assert outcomes.count("held") <= 1
