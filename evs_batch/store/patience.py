"""Storages out of the house: what may pass is tried again, with pauses that grow and differ."""

import contextlib
import io
import random
import tarfile
import tempfile
import time
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import fsspec.config
from fsspec.core import url_to_fs
from fsspec.registry import get_filesystem_class
from fsspec.utils import get_protocol

from evs_batch.spec.errors import EvsError, MediaError, StorageError

TRIES = 5
FIRST_PAUSE_S = 0.5
SILENCE_S = 60.0  # of a connection over SSH that counts as broken
ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)  # says something of the file, not of its storage
REFUSED = (PermissionError, ImportError, ValueError, NotImplementedError, tarfile.ReadError)
REFUSED_NAMES = {
    "NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "ProfileNotFound",  # boto
    "AuthenticationException", "BadHostKeyException",  # paramiko
    "BadZipFile",
}  # fmt: skip
REFUSED_STATUS = {405, 501}
PASSING_STATUS = {408, 425, 429}
HTTP = ("http", "https")
MAX_FETCHED_BYTES = 1 << 34  # of a video on a server that gives whole files only

T = TypeVar("T")

fsspec.config.conf["sftp"] = {
    **dict.fromkeys(("timeout", "banner_timeout", "auth_timeout"), SILENCE_S), **fsspec.config.conf.get("sftp", {}),
}  # fmt: skip


def is_local(uri: str) -> bool:
    """Whether a URI names a file or folder of this machine."""
    return get_protocol(uri) in ("file", "local")


def patiently(uri: str, do: Callable[[Any, str], T]) -> T:
    """Do something with the filesystem of a URI and the path in it, on a new connection whenever it has failed.

    Raises StorageError when it is refused or has failed too often. Errors of `ABSENT`, those of evs-batch and those of
    a disk of this machine pass through.
    """
    if is_local(uri):
        return do(*url_to_fs(uri))
    turn = 0
    while True:
        turn += 1
        try:
            return do(*_connected(uri))
        except EvsError:
            raise
        except Exception as error:  # every storage has a library, and every library its errors
            cause = _cause(uri, error)
            if isinstance(cause, ABSENT):
                raise
            if turn == TRIES or _refused(cause):
                raise StorageError(
                    uri, f"cannot be used ({_said(cause)})", "check rights, credentials and space"
                ) from error
        time.sleep(FIRST_PAUSE_S * 2 ** (turn - 1) * random.uniform(0.5, 1.5))
        for part in uri.split("::"):
            get_filesystem_class(get_protocol(part)).clear_instance_cache()


def _connected(uri: str) -> tuple[Any, str]:
    """The filesystem of a URI and the path in it; SSH waits for ever unless it is told not to."""
    fs, path = url_to_fs(uri)
    channel: Any = getattr(getattr(fs, "ftp", None), "sock", None)
    if hasattr(channel, "get_transport"):
        channel.settimeout(SILENCE_S)
        channel.get_transport().set_keepalive(int(SILENCE_S / 4))
    return fs, path


def _cause(uri: str, error: Exception) -> BaseException:
    """Over HTTP all that goes wrong on opening is called a missing file, but only a status of 4xx says so."""
    cause = error.__cause__
    if get_protocol(uri) not in HTTP or not isinstance(error, FileNotFoundError) or cause is None:
        return error
    status = getattr(cause, "status", None)
    return error if status and 400 <= status < 500 and status not in PASSING_STATUS else cause


def _refused(error: BaseException) -> bool:
    """Whether it would be the same in a minute."""
    status = getattr(error, "status", None)
    if isinstance(status, int) and status >= 400:
        return status in REFUSED_STATUS or (status < 500 and status not in PASSING_STATUS)
    return isinstance(error, REFUSED) or type(error).__name__ in REFUSED_NAMES


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class PatientFile(io.RawIOBase):
    """A file far away, open for reading; what a lost connection broke off is read again."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self._uri, self._at = uri, 0
        self._file: Any = None  # what cannot be opened is closed all the same
        self._file = patiently(uri, lambda fs, path: fs.open(path, "rb"))
        self._size = self._file.size if hasattr(self._file, "size") else self._asked_size()
        if self._size is None:
            self._fetch()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Bytes from where it stands; raises StorageError."""
        data = patiently(self._uri, lambda fs, path: self._read(fs, path, size))
        self._at += len(data)
        return data

    def _read(self, fs: Any, path: str, size: int) -> bytes:
        try:
            self._file = self._file or fs.open(path, "rb")
            self._file.seek(self._at)
            data, left = self._file.read(size), max(0, self._size - self._at)
            if len(data) < (left if size < 0 else min(size, left)):
                raise ConnectionError(f"broke off after {len(data)} bytes")  # paramiko calls this the end of the file
            return data
        except ValueError:
            if get_protocol(self._uri) not in HTTP:
                raise
            self._fetch()  # it does not give parts of files
            return self._read(fs, path, size)
        except Exception:
            self._drop()
            raise

    def _asked_size(self) -> int:
        return patiently(self._uri, lambda fs, path: fs.size(path))

    def _fetch(self) -> None:
        """Have the whole file here."""
        self._drop()
        self._file = patiently(self._uri, lambda fs, path: _fetched(self._uri, fs, path))
        self._size = self._file.seek(0, io.SEEK_END)

    def _drop(self) -> None:
        file, self._file = self._file, None
        with contextlib.suppress(Exception):
            file.close()

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._drop()
        super().close()


def read_whole(fs: Any, path: str) -> bytes:
    """All of a small file; over SSH, where a connection that is cut looks like its end, as long as it must be."""
    data = fs.cat_file(path)
    if "sftp" in fs.protocol and len(data) < fs.size(path):
        raise ConnectionError(f"broke off after {len(data)} bytes")
    return data


def _fetched(uri: str, fs: Any, path: str) -> BinaryIO:
    file: Any = tempfile.TemporaryFile(prefix="evs-")  # noqa: SIM115
    with fs.open(path, "rb", block_size=0) as source:
        while data := source.read(1 << 20):
            file.write(data)
            if file.tell() > MAX_FETCHED_BYTES:
                raise MediaError(uri, f"must be at most {MAX_FETCHED_BYTES} bytes", "use a server that gives ranges")
    return file
