"""Room for files in the making on this machine; what processes left behind that were killed goes with the next one."""

import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "evs-batch-"
_LOCK = ".lock"


def folder() -> "tempfile.TemporaryDirectory[str]":
    """A new folder, which goes when its block ends, or with the next process after this one was killed."""
    return tempfile.TemporaryDirectory(dir=_of_process(os.getpid()))


@functools.cache
def _of_process(pid: int) -> Path:
    """The folder of this process, which holds a lock in it as long as it lives."""
    sweep()
    while True:
        own = Path(tempfile.mkdtemp(prefix=PREFIX))
        fcntl.flock(os.open(own / _LOCK, os.O_CREAT | os.O_WRONLY, 0o600), fcntl.LOCK_EX)
        if own.exists():  # nobody took it for abandoned before it was locked
            return own


def sweep() -> None:
    """Remove the folders whose processes are gone, under their locks: a process that is about to take one waits."""
    for found in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if found.lstat().st_uid == os.getuid() and not found.is_symlink():
                with (found / _LOCK).open("rb+") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # or it is somebody's
                    shutil.rmtree(found, ignore_errors=True)
