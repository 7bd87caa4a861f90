"""Files on any fsspec URI: open for reading, publish whole."""

import contextlib
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import fsspec.config
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import get_protocol

from evs_batch.spec.errors import MediaError, RecipeError, StorageError
from evs_batch.store.patience import PatientFile, patiently

log = logging.getLogger(__name__)
WHOLE_BY_ITSELF = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory"}  # a file is there or is not
_SECRET = re.compile("secret|password|passphrase|token|credential")


def configure(settings: Sequence[str]) -> None:
    """Options of fsspec's storages for this process, as recipes have them; raises RecipeError."""
    for setting in settings:
        place, _, text = setting.partition("=")
        protocol, _, option = place.partition(".")
        if _SECRET.search(option) and not text.startswith("$"):
            raise RecipeError(
                f"runtime.storage: {place}", "is a secret", f"write {place}=$NAME, and set NAME on every node"
            )
        if text.startswith("$") and text[1:] not in os.environ:
            raise RecipeError(
                f"runtime.storage: {setting}", "is not in the environment", f"set {text[1:]} on every node"
            )
        fsspec.config.conf.setdefault(protocol, {})[option] = _option(os.environ[text[1:]] if text[0] == "$" else text)


def _option(text: str) -> Any:
    """Numbers, booleans and objects are written as in JSON, all else as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def filesystem(uri: str) -> tuple[Any, str]:
    """The filesystem of a URI and the path in it."""
    return fsspec.core.url_to_fs(uri)


def join(base: str, *parts: str) -> str:
    """A URI below another."""
    return "/".join([base.rstrip("/"), *parts])


def resolve(uri: str, folder: str) -> str:
    """An absolute URI: relative paths are relative to `folder`."""
    if "://" in uri or "::" in uri or uri.startswith("/"):
        return uri
    return join(folder, uri)


def absolute(uri: str) -> str:
    """A URI that means the same on every worker of this machine."""
    return uri if "://" in uri or "::" in uri else str(Path(uri).absolute())


def same(a: str, b: str) -> bool:
    """Whether two URIs name the same file."""
    if get_protocol(a) != get_protocol(b):
        return False  # without asking a storage that may not be installed here
    (fs_a, path_a), (fs_b, path_b) = filesystem(a), filesystem(b)
    if isinstance(fs_a, LocalFileSystem) and isinstance(fs_b, LocalFileSystem):
        return os.path.realpath(path_a) == os.path.realpath(path_b)
    return (type(fs_a), path_a) == (type(fs_b), path_b)


def parent(uri: str) -> str:
    """The folder of a file."""
    return uri.rstrip("/").rpartition("/")[0]


def open_input(uri: str) -> BinaryIO:
    """Open a source file; raises MediaError if there is none, StorageError if its storage is at fault."""
    try:
        fs, path = filesystem(uri)
    except ValueError as error:
        raise MediaError(uri, f"cannot be opened ({error})", "check the path") from error
    except ImportError as error:
        raise StorageError(uri, f"cannot be used ({error})", "install what it names on every node") from error
    try:
        if isinstance(fs, LocalFileSystem):
            if os.path.exists(path) and not os.path.isfile(path):
                raise MediaError(uri, "is a folder or a device", "name a video file")
            return open(path, "rb")
        opened: Any = PatientFile(uri, patiently(uri, lambda: fs.open(path, "rb")))
        return opened
    except PermissionError as error:
        raise StorageError(uri, f"cannot be opened ({error})", "check your rights") from error
    except (OSError, ValueError) as error:
        raise MediaError(uri, f"cannot be opened ({error})", "check the path") from error


def publish(local: Path, uri: str) -> None:
    """Put a finished local file at `uri`, where it appears whole or not at all; raises StorageError."""
    fs, path = filesystem(uri)
    if isinstance(fs, LocalFileSystem):
        with _written(uri), whole(Path(path)) as file, local.open("rb") as source:
            shutil.copyfileobj(source, file)
    else:
        _publish_far(fs, uri, path, lambda target: fs.put_file(str(local), target))


def _publish_far(fs: Any, uri: str, path: str, put: Callable[[str], None]) -> None:
    """Object stores show a file when it is complete; elsewhere it takes its name then."""
    if get_protocol(uri) in WHOLE_BY_ITSELF:
        patiently(uri, lambda: put(path))
        return
    folder, _, name = path.rpartition("/")
    partial = f"{folder}/.{name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        patiently(uri, lambda: fs.makedirs(folder, exist_ok=True))
        patiently(uri, lambda: put(partial))
        patiently(uri, lambda: fs.mv(partial, path))
    except BaseException:
        with contextlib.suppress(Exception):
            fs.rm_file(partial)
        raise


@contextlib.contextmanager
def _written(uri: str) -> Iterator[None]:
    """A disk that is full, read-only or gone is nobody's video's fault."""
    try:
        yield
    except OSError as error:
        raise StorageError(uri, f"cannot be written ({error})", "make room, or name another output") from error


def remove_folder(uri: str) -> None:
    """Remove a folder with its files, if it is there and as far as it goes; what stays is named in the log."""
    try:
        fs, path = filesystem(uri)
        if fs.exists(path):
            fs.rm(path, recursive=True)
    except OSError as error:
        log.warning("%s cannot be removed (%s)", uri, error)


def checksum(uri: str) -> str:
    """Changes when a file does: what its storage says of it, such as size, time and ETag."""
    fs, path = filesystem(uri)
    return patiently(uri, lambda: str(fs.checksum(path)))


def names(uri: str) -> set[str]:
    """The names of what a folder holds; none if it is not there."""
    fs, path = filesystem(uri)
    try:
        listed = patiently(uri, lambda: fs.ls(path, detail=False))
        return {found.rstrip("/").rpartition("/")[2] for found in listed}
    except FileNotFoundError:
        return set()


def write_bytes(data: bytes, uri: str) -> None:
    """Put a small file at `uri`, whole or not at all."""
    fs, path = filesystem(uri)
    if isinstance(fs, LocalFileSystem):
        with _written(uri), whole(Path(path)) as file:
            file.write(data)
    else:
        _publish_far(fs, uri, path, lambda target: fs.pipe_file(target, data))


@contextlib.contextmanager
def whole(target: Path) -> Iterator[BinaryIO]:
    """A new file beside the target, which takes its place when it is complete and on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def read_bytes(uri: str) -> bytes | None:
    """The content of a small file, None if it is not there."""
    fs, path = filesystem(uri)
    try:
        return patiently(uri, lambda: fs.cat_file(path))
    except (FileNotFoundError, IsADirectoryError):
        return None
