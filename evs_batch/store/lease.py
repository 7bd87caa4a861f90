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
from collections.abc import Iterator
from typing import Any

from evs_batch.spec.errors import OutputError
from evs_batch.store import storage

RENEW_S = 10.0
DEAD_S = 25.0  # without renewal
SETTLE_S = 1.0  # two that begin at once see each other after this
log = logging.getLogger("evs_batch")


@contextlib.contextmanager
def held(folder: str, name: str) -> Iterator[None]:
    """Hold the lease of that name in a folder; raises OutputError if another driver does."""
    uri, mine = storage.join(folder, name), _record()
    if (other := _read(uri)) and _alive(uri, other):
        raise OutputError(folder, f"is in use by {_who(other)}", "wait for it or stop it")
    _write(uri, mine)
    time.sleep(SETTLE_S)
    if (other := _read(uri)) and other["owner"] != mine["owner"]:
        raise OutputError(folder, f"is in use by {_who(other)}", "wait for it or stop it")
    over = threading.Event()
    keeper = threading.Thread(target=_keep, args=(uri, mine, over), daemon=True, name="lease")
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
        _drop(uri)


def _record() -> dict[str, Any]:
    return {"owner": uuid.uuid4().hex, "host": socket.gethostname(), "pid": os.getpid(), "renewals": 0}


def _who(record: dict[str, Any]) -> str:
    return f"a driver on {record['host']}, process {record['pid']}"


def _alive(uri: str, seen: dict[str, Any]) -> bool:
    """Whether a lease is renewed; that can take a while to see."""
    if seen["host"] == socket.gethostname() and not os.path.exists(f"/proc/{seen['pid']}"):
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


def _keep(uri: str, mine: dict[str, Any], over: threading.Event) -> None:
    while not over.wait(RENEW_S):
        mine["renewals"] += 1
        try:
            _write(uri, mine)
        except Exception as error:  # the run itself will say it when it matters
            log.warning("the lease %s cannot be renewed (%s)", uri, error)


def _read(uri: str) -> dict[str, Any] | None:
    data = storage.read_bytes(uri)
    return json.loads(data) if data else None


def _write(uri: str, record: dict[str, Any]) -> None:
    storage.write_bytes(json.dumps(record).encode(), uri)


def _drop(uri: str) -> None:
    with contextlib.suppress(Exception):
        storage.remove_file(uri)
