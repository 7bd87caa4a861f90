"""What of a machine, a cluster and storages a run would miss, and how to mend it.

May import everything below the command line. A check is a function that gives findings, and a line in `CHECKS`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from evs_batch.spec.codecs import CODECS
from evs_batch.spec.errors import EvsError, RunError, masked
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.units import amount
from evs_batch.store import storage

State = Literal["ok", "note", "bad"]

PYTHONS = ((3, 11), (3, 13))
LEAST_RAY = (2, 50)
LEAST_MEMORY_BYTES, LEAST_SHM_BYTES, LEAST_DISK_BYTES, LEAST_GPU_BYTES = 8e9, 2e9, 10e9, 8e9
STORAGES = {"s3": "s3fs", "sftp": "paramiko", "gs": "gcsfs", "abfs": "adlfs"}  # and their packages
CREDENTIALS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "~/.aws/credentials"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "~/.config/gcloud/application_default_credentials.json"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `bad` ends runs, a `note` may. `mend` says what to do about it."""

    what: str
    state: State
    found: str
    mend: str = ""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is meant to be run, as far as it is known: a recipe for its models, a cluster, sources, an output folder."""

    recipe: Recipe | None = None
    address: str | None = None
    uris: tuple[str, ...] = ()
    output: str | None = None


Check = Callable[[Asked], Iterator[Finding]]


def examine(asked: Asked) -> Iterator[Finding]:
    """Look at everything; a check that fails in a way that nobody foresaw is a finding too."""
    for check in CHECKS:
        try:
            yield from check(asked)
        except Exception as error:  # the doctor must not fall ill
            name = check.__name__.strip("_")
            yield Finding(name, "bad", f"cannot be looked at ({type(error).__name__}: {error})", "see the message")


def _judged(what: str, found: str, *, good: bool, mend: str, otherwise: State = "bad") -> Finding:
    return Finding(what, "ok", found) if good else Finding(what, otherwise, found, mend)


def _python(asked: Asked) -> Iterator[Finding]:
    good = PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
    known = " to ".join(f"{major}.{minor}" for major, minor in PYTHONS)
    yield _judged("Python", sys.version.split()[0], good=good, mend=f"use {known}", otherwise="note")


def _torch(asked: Asked) -> Iterator[Finding]:
    import torch

    driver = _driver()
    if driver:
        yield Finding("GPU driver", "ok", driver)
    if not torch.cuda.is_available():
        mend = "install a torch build for this driver's CUDA (https://pytorch.org/get-started/locally)"
        found = f"{torch.__version__}, without a GPU"
        yield _judged("torch", found, good=not driver, mend=mend)
        yield Finding(
            "GPU", "note", "none", "" if driver else "the tiny models run on a CPU, full-size ones need a GPU"
        )
        return
    yield Finding("torch", "ok", f"{torch.__version__}, CUDA {torch.version.cuda}")
    for number in range(torch.cuda.device_count()):
        free_bytes, bytes_in_all = torch.cuda.mem_get_info(number)
        found = f"{torch.cuda.get_device_name(number)}, {amount(free_bytes)} of {amount(bytes_in_all)} free"
        mend = 'end what else runs there, or set runtime.offload = "models"'
        yield _judged(f"GPU {number}", found, good=free_bytes >= LEAST_GPU_BYTES, mend=mend, otherwise="note")


def _driver() -> str:
    """NVIDIA's driver, if there is one."""
    program = shutil.which("nvidia-smi")
    if not program:
        return ""
    asked = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise RunError("nvidia-smi", f"fails ({done.stdout.strip() or done.stderr.strip()})", "mend the driver first")
    return f"NVIDIA {done.stdout.split()[0]}" if done.stdout.split() else ""


def _ray(asked: Asked) -> Iterator[Finding]:
    found = version("ray")
    good = tuple(int(part) for part in found.split(".")[:2]) >= LEAST_RAY
    yield _judged("Ray", found, good=good, mend=f"pip install 'ray[default]>={'.'.join(map(str, LEAST_RAY))}'")
    mode, file = os.environ.get("RAY_AUTH_MODE", ""), Path.home() / ".ray" / "auth_token"
    token = os.environ.get("RAY_AUTH_TOKEN") or file.is_file()
    if mode == "token" and not token:
        yield Finding("Ray token", "bad", f"RAY_AUTH_MODE=token, and no {file}", "copy it from the head node")
    elif token and mode != "token":
        yield Finding("Ray token", "note", "there is one, but RAY_AUTH_MODE is not token", "export RAY_AUTH_MODE=token")
    else:
        found = "token" if token else "none: right for a Ray of one machine; clusters start with cluster/start.sh"
        yield Finding("Ray token", "ok", found)


def _cluster(asked: Asked) -> Iterator[Finding]:
    from evs_batch.runtime import cluster

    if not cluster.is_remote(asked.address):
        return
    try:
        cluster.connect(asked.address)
        nodes = cluster.nodes()
    except EvsError as error:
        yield Finding("cluster", "bad", f"{error.value} {error.rule}", error.fix)
        return
    finally:
        cluster.disconnect()
    total = {name: sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU", "object_store_memory")}
    stores = amount(total["object_store_memory"])
    yield Finding(
        "cluster", "ok", f"{len(nodes)} nodes, {total['GPU']:g} GPUs, {total['CPU']:g} cores, {stores} of object stores"
    )


def _memory(asked: Asked) -> Iterator[Finding]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield _judged(
        "memory", amount(total), good=total >= LEAST_MEMORY_BYTES, otherwise="note",
        mend=f"{amount(LEAST_MEMORY_BYTES)} is little enough; lower runtime.memory_gb",
    )  # fmt: skip
    shm = Path("/dev/shm")
    if shm.is_dir():
        free = shutil.disk_usage(shm).free
        mend = "in a container: docker run --shm-size=8g; Ray then uses /tmp, which is slow"
        yield _judged("/dev/shm", f"{amount(free)} free", good=free >= LEAST_SHM_BYTES, mend=mend, otherwise="note")


def _disk(asked: Asked) -> Iterator[Finding]:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    found = f"{amount(free)} free in {folder}"
    mend = "results are written there first, and Ray spills there: make room, or set TMPDIR"
    yield _judged("disk", found, good=free >= LEAST_DISK_BYTES, mend=mend, otherwise="note")


def _ffmpeg(asked: Asked) -> Iterator[Finding]:
    import av
    import imageio_ffmpeg

    program = imageio_ffmpeg.get_ffmpeg_exe()
    filters = subprocess.run(
        [program, "-v", "error", "-filters"], capture_output=True, text=True, check=False, timeout=60
    )
    missing = [name for name in ("zscale", "tonemap", "bwdif") if f" {name} " not in filters.stdout]
    found = f"{imageio_ffmpeg.get_ffmpeg_version()} at {program}"
    good = filters.returncode == 0 and not missing
    mend = f"it lacks {', '.join(missing)}: unset IMAGEIO_FFMPEG_EXE, or name a full build"
    yield _judged("ffmpeg", found, good=good, mend=mend)
    lacking = [
        name for name, codec in CODECS.items() if not codec.by_program and codec.encoder not in av.codecs_available
    ]
    yield _judged(
        "PyAV", f"{av.__version__}, all encoders" if not lacking else f"{av.__version__} without {', '.join(lacking)}",
        good=not lacking, mend="pip install --force-reinstall av: its wheel has them", otherwise="note",
    )  # fmt: skip


def _models(asked: Asked) -> Iterator[Finding]:
    from huggingface_hub.constants import HF_HUB_CACHE

    from evs_batch.models import zoo
    from evs_batch.models.places import DEFAULT_FOLDER, FOLDER

    cache = Path(HF_HUB_CACHE)
    there = next(path for path in (cache, *cache.parents) if path.exists())
    found = f"{cache}, {amount(shutil.disk_usage(there).free)} free"
    yield _judged("model cache", found, good=os.access(there, os.W_OK), mend="set HF_HOME to a folder you may write to")
    yield Finding("model folder", "ok", f"{os.environ.get(FOLDER, DEFAULT_FOLDER)} (${FOLDER})")
    from evs_batch.models.needs import needed
    from evs_batch.runtime import cluster

    remote, seen = cluster.is_remote(asked.address), set[str]()
    for entry in needed(asked.recipe) if asked.recipe else ():
        for place in [place for place in zoo.places(entry) if str(place) not in seen]:
            seen.add(str(place))
            here, state = bool(place.find()), "note" if remote else "bad"
            mend = place.advice(zoo.wanted(entry)) + (", on every node" if remote else "")
            yield _judged(str(place), "here" if here else "not here", good=here, mend=mend, otherwise=state)


def _storages(asked: Asked) -> Iterator[Finding]:
    storage.configure(asked.recipe.runtime.storage if asked.recipe else ())
    usable = [protocol for protocol, package in STORAGES.items() if find_spec(package)]
    yield Finding("storages", "ok", ", ".join(["local", "http", *usable]))
    for protocol, places in CREDENTIALS.items():
        if protocol in usable:
            where = next(filter(_is_there, places), None)
            found, mend = f"from {where}" if where else "none found", f"where they are needed: {', '.join(places)}"
            yield _judged(f"{protocol} credentials", found, good=where is not None, mend=mend, otherwise="note")
    for uri in asked.uris:
        yield _tried(uri, "can be read", _read)
    if asked.output:
        yield _tried(asked.output, "can be written", _write)


def _tried(uri: str, good: str, do: Callable[[str], None]) -> Finding:
    try:
        do(storage.absolute(uri))
    except EvsError as error:
        return Finding(masked(uri), "bad", f"{error.rule}", f"{error.fix}{_credentials(uri)}")
    except (OSError, ValueError, ImportError) as error:
        return Finding(
            masked(uri),
            "bad",
            f"{type(error).__name__}: {error}",
            f"check the address and your rights{_credentials(uri)}",
        )
    return Finding(masked(uri), "ok", good)


def _read(uri: str) -> None:
    if storage.is_folder(uri):
        storage.names(uri)
    else:
        with storage.open_input(uri) as file:
            file.read(1)


def _write(uri: str) -> None:
    name = storage.join(uri, f".evs-doctor-{uuid.uuid4().hex}{storage.PARTIAL}")
    folder = Path(storage.filesystem(uri)[1]) if storage.is_local(uri) else None
    new = [path for path in (folder, *folder.parents) if not path.exists()] if folder else []
    storage.write_bytes(b"evs-batch doctor", name)
    storage.remove_file(name)
    for path in new:
        path.rmdir()


def _is_there(name: str) -> bool:
    """A variable of the environment, or a file."""
    return name in os.environ or Path(name).expanduser().is_file()


def _credentials(uri: str) -> str:
    """Where credentials for a storage would come from, if there are none."""
    protocol = uri.partition("://")[0]
    places = CREDENTIALS.get(protocol, ())
    if not places or any(map(_is_there, places)):
        return ""
    return f"; no credentials are in {', '.join(places)}"


CHECKS: tuple[Check, ...] = (_python, _torch, _ray, _cluster, _memory, _disk, _ffmpeg, _models, _storages)
