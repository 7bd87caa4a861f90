"""How long it takes until there is help, and until a worker can take its first call: whole processes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from evs_batch.models.zoo import TINY
from evs_batch.spec.errors import RunError

MESSAGE_CHARS = 500  # of a program that fails
INTERPRETER = ("-c", "pass")
HELP = ("-m", "evs_batch", "--help")
WORKER = "from evs_batch.stages import t2i, t2v"
SCRIPT = "import evs_batch.bench.device.plain as plain, pathlib, torch"


def compare(folder: Path | None, repeats: int) -> Iterator[dict[str, Any]]:
    """One row for each way, by turns: median seconds of a whole process, and how much of it is more than Python itself.

    Weights are those of `folder`, as `bench device` writes them, or the tiny family's. They lie in the page cache.
    """
    t2i, motion = (TINY, TINY / "motion") if folder is None else (folder / "t2i", folder / "motion")
    ways = {
        "python": INTERPRETER,
        "evs-batch --help": HELP,
        "imports of a worker": ("-c", WORKER),
        "worker with T2I": ("-c", _loading(t2i, motion, "t2i")),
        "worker with both": ("-c", _loading(t2i, motion, "t2i", "t2v")),
        "plain script": ("-c", f"{SCRIPT}; {_by_script(t2i, motion)}"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, arguments in ways.items():
            seconds[name].append(_run(arguments))
    python_s = median(seconds["python"][1:])
    for name, taken in seconds.items():
        found_s = median(taken[1:])  # the first turn fills the page cache
        yield {"way": name, "seconds": found_s, "beside_python": found_s - python_s}


def _loading(t2i: Path, motion: Path, *roles: str) -> str:
    """The program of a worker that loads these roles."""
    models = [f"t2i.model={t2i}", f"t2v.base={t2i}", f"t2v.model={motion}", "t2i.attention=self"]
    load = "; ".join(f"kept.append({role}.load(recipe, {os.cpu_count() or 1}))" for role in roles)
    recipe = f"from evs_batch.store.recipes import load_recipe; recipe = load_recipe('enhance', {models!r})"
    return f"{WORKER}; {recipe}; kept = []; {load}"


def _by_script(t2i: Path, motion: Path) -> str:
    """The program of a plain script that loads the same in half precision."""
    device = "torch.device('cuda' if torch.cuda.is_available() else 'cpu')"
    return f"plain.load(pathlib.Path({str(t2i)!r}), pathlib.Path({str(motion)!r}), {device}, torch.float16)"


def _run(arguments: Sequence[str]) -> float:
    began_s = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], check=False, capture_output=True, text=True)
    taken_s = time.perf_counter() - began_s
    if done.returncode:
        raise RunError(
            f"python {arguments[0]}", done.stderr.strip()[-MESSAGE_CHARS:], "see whether --folder has weights"
        )
    return taken_s
