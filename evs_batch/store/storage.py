"""Files on any fsspec URI: open for reading, publish whole."""

import contextlib
import io
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
from fsspec.registry import get_filesystem_class
from fsspec.utils import get_protocol

from evs_batch.spec.errors import MediaError, RecipeError, StorageError
from evs_batch.store import scratch
from evs_batch.store.patience import HTTP, PatientFile, is_local, patiently, read_whole

log = logging.getLogger(__name__)
WHOLE_BY_ITSELF = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory"}  # a file is there or is not
PARTIAL = ".partial"  # how the name of a file ends that is not complete
_CHANGING = {"time", "created", "nlink", "url"}  # although the file does not
BUFFER_BYTES = 1 << 16
_SECRET = re.compile("secret|password|passphrase|token|credential")


def configure(settings: Sequence[str]) -> None:
    """Options of fsspec's storages for this process, as recipes have them; raises RecipeError."""
    for setting in settings:
        place, _, text = setting.partition("=")
        protocol, _, option = place.partition(".")
        if _SECRET.search(setting if text.startswith("{") else option) and not text.startswith("$"):
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


def is_whole_by_itself(uri: str) -> bool:
    """Whether a storage shows no file before it is complete."""
    return get_protocol(uri) in WHOLE_BY_ITSELF


def resolve(uri: str, folder: str) -> str:
    """An absolute URI: relative paths are relative to `folder`."""
    if "://" in uri or "::" in uri or uri.startswith("/"):
        return uri
    return join(folder, uri)


def absolute(uri: str) -> str:
    """A URI that means the same on every worker of this machine."""
    return uri if "://" in uri or "::" in uri else str(Path(uri).absolute())


def same(a: str, b: str) -> bool:
    """Whether two URIs name the same file; no storage is asked."""
    if is_local(a) and is_local(b):
        return os.path.realpath(filesystem(a)[1]) == os.path.realpath(filesystem(b)[1])
    return os.path.normpath(a) == os.path.normpath(b)


def parent(uri: str) -> str:
    """The folder of a file."""
    return uri.rstrip("/").rpartition("/")[0]


def open_input(uri: str) -> BinaryIO:
    """Open a source file; raises MediaError if there is none, StorageError if its storage is at fault."""
    try:
        get_filesystem_class(get_protocol(uri))
        if is_local(uri) and os.path.exists(path := filesystem(uri)[1]):
            if not os.path.isfile(path):
                raise MediaError(uri, "is a folder or a device", "name a video file")
            if not os.path.getsize(path):  # as all that the kernel makes up below /proc and /sys
                raise MediaError(uri, "is empty", "fetch it again")
        return open_stored(uri)
    except ImportError as error:
        raise StorageError(uri, f"cannot be used ({error})", "install what it names on every node") from error
    except PermissionError as error:
        raise StorageError(uri, f"cannot be opened ({error})", "check your rights") from error
    except (OSError, ValueError) as error:
        raise MediaError(uri, f"cannot be opened ({error})", "check the path") from error


def open_stored(uri: str) -> io.BufferedReader:
    """Open a file for reading; raises OSError or StorageError."""
    if is_local(uri):
        return open(filesystem(uri)[1], "rb")
    return io.BufferedReader(PatientFile(uri), BUFFER_BYTES)


def publish(local: Path, uri: str) -> None:
    """Put a finished local file at `uri`, where it appears whole or not at all; raises StorageError."""
    if is_local(uri):
        with _written(uri), whole(Path(filesystem(uri)[1])) as file, local.open("rb") as source:
            shutil.copyfileobj(source, file)
    else:
        _publish_far(uri, local.stat().st_size, lambda fs, path: fs.put_file(str(local), path))


def _publish_far(uri: str, size: int, put: Callable[[Any, str], None]) -> None:
    """Object stores show a file when it is complete; elsewhere it takes its name then."""
    with _written(uri):
        if is_whole_by_itself(uri):
            patiently(uri, put)
            return
        partial = join(parent(uri), f".{uri.rpartition('/')[2]}.{uuid.uuid4().hex[:8]}{PARTIAL}")

        def rename(fs: Any, path: str) -> None:
            target = fs._strip_protocol(uri)
            try:
                fs.mv(path, target)
            except FileNotFoundError:  # it was renamed before, and the answer was lost
                if fs.size(target) != size:
                    raise

        patiently(parent(uri), lambda fs, folder: fs.makedirs(folder, exist_ok=True))
        try:
            patiently(partial, put)
            patiently(partial, rename)
        except BaseException:
            with contextlib.suppress(Exception):
                remove_file(partial)
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

    def remove(fs: Any, path: str) -> None:
        fs.invalidate_cache(path)
        if fs.exists(path):
            fs.rm(path, recursive=True)

    try:
        patiently(uri, remove)
    except (OSError, StorageError) as error:
        log.warning("%s cannot be removed (%s)", uri, error)


def remove_file(uri: str) -> None:
    """Remove a file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        patiently(uri, lambda fs, path: fs.rm_file(path))


def checksum(uri: str) -> str:
    """Changes when a file does: what its storage says of it, such as size, time and ETag."""

    def of(fs: Any, path: str) -> str:
        return str(sorted((name, str(value)) for name, value in fs.info(path).items() if name not in _CHANGING))

    return patiently(uri, of)


def is_folder(uri: str) -> bool:
    """Whether a URI names a folder that is there."""
    return get_protocol(uri) not in HTTP and patiently(uri, lambda fs, path: fs.isdir(path))


@contextlib.contextmanager
def created(uri: str) -> Iterator[BinaryIO]:
    """A new file at `uri`, which appears when the block has ended well; raises StorageError."""
    with scratch.folder() as folder:
        path = Path(folder) / "file"
        with path.open("wb") as file:
            yield file
        publish(path, uri)


def files(folder: str) -> list[str]:
    """The files of a folder and of those in it, as URIs; links are followed, and what cannot be read is an error."""
    if not is_local(folder):
        return glob(join(folder, "**"))
    found = list[str]()

    def refuse(error: OSError) -> None:
        raise StorageError(folder, f"cannot be read ({error})", "check your rights")

    for inner, _, names in os.walk(filesystem(folder)[1], onerror=refuse, followlinks=True):
        found += [os.path.join(inner, name) for name in names]
    return found


def exists(uri: str) -> bool:
    """Whether there is a file or a folder."""
    return patiently(uri, lambda fs, path: fs.exists(path))


def glob(pattern: str) -> list[str]:
    """The files that a pattern with `*`, `?`, `[…]` and `**` names, as URIs; raises StorageError."""
    head, inside, rest = pattern.partition("::")

    def look(fs: Any, path: str) -> list[str]:
        fs.invalidate_cache()
        place = head.removesuffix(path)  # with the host, which paths do not have
        found = fs.glob(path, detail=True).items()
        return [f"{place}{name}{inside}{rest}" for name, about in found if about["type"] != "directory"]

    return patiently(pattern, look)


def names(uri: str) -> set[str]:
    """The names of what a folder holds; none if it is not there."""
    if not is_local(uri):
        return set(sizes(uri))
    with contextlib.suppress(FileNotFoundError):
        return set(os.listdir(filesystem(uri)[1]))
    return set()


def sizes(uri: str) -> dict[str, int]:
    """The names of what a folder holds, each with its bytes; none if it is not there."""

    def look(fs: Any, path: str) -> list[dict[str, Any]]:
        fs.invalidate_cache(path)  # others write there, too
        try:
            return fs.ls(path, detail=True)
        finally:
            fs.invalidate_cache(path)

    try:
        listed = patiently(uri, look)
    except FileNotFoundError:
        return {}
    return {found["name"].rstrip("/").rpartition("/")[2]: found["size"] or 0 for found in listed}


def write_bytes(data: bytes, uri: str) -> None:
    """Put a small file at `uri`, whole or not at all."""
    if is_local(uri):
        with _written(uri), whole(Path(filesystem(uri)[1])) as file:
            file.write(data)
    else:
        _publish_far(uri, len(data), lambda fs, path: fs.pipe_file(path, data))


@contextlib.contextmanager
def whole(target: Path) -> Iterator[BinaryIO]:
    """A new file beside the target, which takes its place when it is complete and on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")
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
    try:
        return patiently(uri, read_whole)
    except (FileNotFoundError, IsADirectoryError):
        return None
