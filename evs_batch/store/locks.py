"""Locks of drivers in a folder of this machine, which end with their process."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def held(folder: str, shard: tuple[int, int]) -> Iterator[None]:
    """Hold what a shard needs: all of the folder, or a share among those of the same number.

    Raises BlockingIOError if another driver is in the way, OSError if the folder cannot be used.
    """
    number, shards = shard
    os.makedirs(folder, exist_ok=True)
    with contextlib.ExitStack() as stack:
        whole = stack.enter_context(open(os.path.join(folder, ".lock"), "a+"))
        _share(whole, shards)
        if shards > 1:
            own = stack.enter_context(open(os.path.join(folder, f".lock-{number}-of-{shards}"), "w"))
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _share(file: TextIO, shards: int) -> None:
    """Alone, or with drivers that wrote the same number of shards into the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if shards == 1:
            raise
    else:
        file.truncate(0)
        file.write(str(shards))
        file.flush()
        if shards == 1:
            return
    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    file.seek(0)
    if file.read() != str(shards):
        raise BlockingIOError
