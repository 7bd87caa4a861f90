"""Locks of drivers in a folder of this machine, which end with their process."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import TextIO

from evs_batch.store import shards


@contextlib.contextmanager
def held(folder: str, shard: shards.Shard) -> Iterator[None]:
    """Hold what a shard needs: all of the folder, or a share among those of the same number.

    Raises BlockingIOError if another driver is in the way, OSError if the folder cannot be used.
    """
    os.makedirs(folder, exist_ok=True)
    with contextlib.ExitStack() as stack:
        whole = stack.enter_context(open(os.path.join(folder, ".lock"), "a+"))
        _share(whole, shard[1])
        if shard[1] > 1:
            own = stack.enter_context(open(os.path.join(folder, shards.name(".lock", shard, ending="")), "w"))
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _share(file: TextIO, count: int) -> None:
    """Alone, or with drivers that wrote the same number of shards into the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if count == 1:
            raise
    else:
        file.truncate(0)
        file.write(str(count))
        file.flush()
        if count == 1:
            return
    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    file.seek(0)
    if file.read() != str(count):
        raise BlockingIOError
