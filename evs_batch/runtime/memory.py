"""What a worker's process runs on, and its memory: what it has held, what it may take, and what it keeps."""

import ctypes
import platform
import resource
import sys
from pathlib import Path

MMAP_THRESHOLD, TRIM_THRESHOLD, ARENA_MAX = -3, -1, -8  # of glibc's mallopt
LARGEST = 32 << 20  # bytes: glibc takes no more for a threshold


CPUS = Path("/proc/cpuinfo")


def device_name() -> str:
    """Of the GPU that this process computes on, or of the node's processor if it has none."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    lines = CPUS.read_text().splitlines() if CPUS.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def most_held_bytes() -> int:
    """The most that this process has held: of its GPU, or of the node's memory if it has none."""
    torch = sys.modules.get("torch")  # a media worker has none, and none is imported for this
    if torch and torch.cuda.is_available():
        return torch.cuda.max_memory_reserved()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit_data(size_bytes: int) -> None:
    """What this process may allocate, so that a hostile file does not take the node's memory; shared memory is free."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (size_bytes if hard < 0 else min(size_bytes, hard), hard))


def keep_memory() -> bool:
    """Let this process keep what it frees, for the next tensors; only where glibc is, and before threads are.

    `bench/cores.py` measures what that is worth: a page that the kernel gives anew is cleared first.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    wanted = ((ARENA_MAX, 1), (MMAP_THRESHOLD, LARGEST), (TRIM_THRESHOLD, 2**31 - 1))
    return mallopt is not None and all(mallopt(key, value) for key, value in wanted)
