"""One driver at a time where there are no locks: a small file that its owner renews.

A driver that was killed leaves its lease behind. It is known to be dead when its process is gone, if it was on this
machine, and else when the lease does not change for longer than its owner would wait.
"""

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evs_batch.spec.errors import OutputError
from evs_batch.store import shards, storage

RENEW_S = 10.0
DEAD_S = 25.0  # without renewal
SURE_S = 20.0  # without renewal: nobody has taken it for dead yet
SETTLE_S = 1.0  # two that begin at once see each other after this
log = logging.getLogger("evs_batch")


@contextlib.contextmanager
def held(folder: str, shard: shards.Shard) -> Iterator[Callable[[], None]]:
    """Hold the lease of a shard in a folder; raises OutputError if another driver is in the way.

    Gives a check, which raises OutputError as soon as the lease may be somebody else's.
    """
    mine = Lease(storage.join(folder, shards.name("lease", shard)))
    for uri, other in _others(folder, shard):
        if _alive(uri, other):
            raise _in_use(folder, other)
        storage.remove_file(uri)
    began_s = time.monotonic()
    mine.write()
    time.sleep(SETTLE_S + time.monotonic() - began_s)
    for _, other in _others(folder, shard):
        if other["owner"] != mine.record["owner"]:
            mine.drop()
            raise _in_use(folder, other)
    over = threading.Event()
    keeper = threading.Thread(target=mine.keep, args=(over,), daemon=True, name="lease")
    keeper.start()
    try:
        yield mine.check
    finally:
        over.set()
        keeper.join()
        mine.drop()


def _others(folder: str, shard: shards.Shard) -> Iterator[tuple[str, dict[str, Any]]]:
    """The leases that keep a driver of this shard out, its own among them."""
    for name in storage.names(folder):
        uri = storage.join(folder, name)
        if name.startswith("lease") and not _together(name, shard) and (record := _read(uri)):
            yield uri, record


def _together(name: str, shard: shards.Shard) -> bool:
    """Whether a driver with that lease does other rows: another shard of the same number."""
    return name != shards.name("lease", shard) and shard[1] > 1 and name.endswith(f"-of-{shard[1]}.json")


@dataclass
class Lease:
    """A lease of ours, and when it was certainly ours."""

    uri: str
    record: dict[str, Any] = field(default_factory=lambda: {**_here(), "owner": uuid.uuid4().hex, "renewals": 0})
    _sure_s: float = 0.0
    _lost: bool = False

    def write(self) -> None:
        began_s = time.monotonic()
        storage.write_bytes(json.dumps(self.record).encode(), self.uri)
        self._sure_s = began_s

    def keep(self, over: threading.Event) -> None:
        """Renew it until it is over, or somebody else's."""
        while not over.wait(RENEW_S) and not self._lost:
            self.record["renewals"] += 1
            try:
                other = _read(self.uri)
                self._lost = other is not None and other["owner"] != self.record["owner"]
                if not self._lost:
                    self.write()
            except Exception as error:  # the run itself will say it when it matters
                log.warning("the lease %s cannot be renewed (%s)", self.uri, error)

    def check(self) -> None:
        """Raises OutputError if another driver may have taken this one for dead."""
        if self._lost or time.monotonic() - self._sure_s > SURE_S:
            rule = "could not be renewed in time: another driver may do these rows now"
            raise OutputError(self.uri, rule, "run the same command again")

    def drop(self) -> None:
        """Let others in at once."""
        with contextlib.suppress(Exception):
            if not self._lost and (_read(self.uri) or {}).get("owner") == self.record["owner"]:
                storage.remove_file(self.uri)


def _here() -> dict[str, Any]:
    """A process, and where its number means it."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    place = [boot.read_text().strip() if boot.exists() else "", os.stat("/proc/self/ns/pid").st_ino]
    return {"host": socket.gethostname(), "pid": os.getpid(), "place": place}


def _in_use(folder: str, record: dict[str, Any]) -> OutputError:
    return OutputError(folder, f"is in use by {_who(record)}", "wait for it or stop it")


def _who(record: dict[str, Any]) -> str:
    return f"a driver on {record['host']}, process {record['pid']}"


def _alive(uri: str, seen: dict[str, Any]) -> bool:
    """Whether a lease is renewed; that can take a while to see."""
    if seen.get("place") == _here()["place"] and not os.path.exists(f"/proc/{seen['pid']}"):
        return False
    log.info("%s was here: waiting up to %.0f s to see whether it still works", _who(seen), DEAD_S)
    until_s = time.monotonic() + DEAD_S
    while time.monotonic() < until_s:
        time.sleep(min(1.0, RENEW_S / 4))
        now = _read(uri)
        if now is None:
            return False
        if now != seen:
            return True
    return False


def _read(uri: str) -> dict[str, Any] | None:
    data = storage.read_bytes(uri)
    return json.loads(data) if data else None
