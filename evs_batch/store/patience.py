"""Storages out of the house: what may pass is tried again, with pauses that grow and differ."""

import io
import random
import time
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

from fsspec.utils import get_protocol

from evs_batch.spec.errors import EvsError, StorageError

TRIES = 5
FIRST_PAUSE_S = 0.5
ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)  # says something of the file, not of its storage
REFUSED = (PermissionError, ImportError, ValueError)
REFUSED_NAMES = {"NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "ProfileNotFound"}
PASSING_STATUS = {408, 425, 429}

T = TypeVar("T")


def patiently(uri: str, do: Callable[[], T]) -> T:
    """Do something on a storage; raises StorageError when it is refused, or has failed too often.

    Errors of `ABSENT`, those of evs-batch and those of a disk of this machine pass through.
    """
    if get_protocol(uri) in ("file", "local"):
        return do()
    turn = 0
    while True:
        turn += 1
        try:
            return do()
        except (*ABSENT, EvsError):
            raise
        except Exception as error:  # every storage has a library, and every library its errors
            if turn == TRIES or _refused(error):
                raise StorageError(
                    uri, f"cannot be used ({_said(error)})", "check rights, credentials and space"
                ) from error
        time.sleep(FIRST_PAUSE_S * 2 ** (turn - 1) * random.uniform(0.5, 1.5))


def _refused(error: Exception) -> bool:
    """Whether it would be the same in a minute."""
    status = getattr(error, "status", None)
    if isinstance(status, int) and 400 <= status < 500:
        return status not in PASSING_STATUS
    return isinstance(error, REFUSED) or type(error).__name__ in REFUSED_NAMES


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class PatientFile(io.RawIOBase):
    """A file far away, open for reading; what a lost connection broke off is read again."""

    def __init__(self, uri: str, file: BinaryIO) -> None:
        super().__init__()
        self._uri, self._file = uri, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        """Bytes from where it stands; raises StorageError."""
        begin = self._file.tell()

        def again() -> bytes:
            self._file.seek(begin)
            return self._file.read(size)

        return patiently(self._uri, again)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
