"""Run a system in a process of its own, on a Ray of its own, and see what became of the clips."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import ray

from evs_batch.bench.peers import work as bench
from evs_batch.bench.peers.work import SCENARIOS, Scenario
from evs_batch.bench.schedule import ideal_s

SYSTEMS = {
    "sequential": "plain:sequential",
    "data_parallel": "plain:data_parallel",
    "static": "plain:static",
    "ray_data": "ray_data:run",
    "ray_data, fused": "ray_data:fused",
    "cosmos_xenna": "xenna:run",
    "evs_batch": "ours:run",
}
NEEDS = {"ray_data": "pandas", "ray_data, fused": "pandas", "cosmos_xenna": "cosmos_xenna"}
MARK = "EVS_BATCH_PEERS"  # in the environment of all processes of a run
LIMIT_S = 120.0
LOSSES = ("late", "between", "early", "partial")
KILL_AFTER_S = 4.0  # from the first model call on


def compare(
    clips: int, workers: int, repeats: int, systems: Sequence[str], scenarios: Sequence[Scenario] = SCENARIOS
) -> Iterator[dict[str, Any]]:
    """Rows of the table: repeats without faults one after the other for all systems, then each fault once."""
    none: list[Scenario] = ["none"] * repeats if "none" in scenarios else []
    faults: list[Scenario] = [scenario for scenario in scenarios if scenario != "none"]
    found: dict[tuple[Scenario, str], list[dict[str, Any]]] = {}
    for scenario, system in product((*none, *faults), systems):
        if scenario != "none" and system == "sequential":
            continue
        count = clips if scenario == "none" else clips // 2
        count //= workers if system == "sequential" else 1  # it has one worker only
        found.setdefault((scenario, system), []).append(run_apart(system, scenario, count, workers))
    for (scenario, system), results in found.items():
        yield {"system": system, "scenario": scenario, **_middle(results)}


def installed() -> list[str]:
    """The systems whose packages are here."""
    return [system for system in SYSTEMS if system not in NEEDS or find_spec(NEEDS[system])]


def _middle(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of figures; the worst of what must not happen."""
    row: dict[str, Any] = {
        name: median(result[name] for result in results)
        for name in ("clips_per_s", "achieved_over_ideal", "with_start_up", *LOSSES, "first_call_s", "call_frames")
    }
    hand_offs = [result["hand_off"] for result in results if result["hand_off"] is not None]
    row["hand_off"] = median(hand_offs) if hand_offs else None
    row |= {name: max(result[name] for result in results) for name in ("lost", "doubled")}
    return {**row, "end": "; ".join(dict.fromkeys(result["end"] for result in results))}


def run_apart(system: str, scenario: Scenario, clips: int, workers: int) -> dict[str, Any]:
    """One run in a new process; one that hangs is ended."""
    with tempfile.TemporaryDirectory(prefix="evs-peers-") as name:
        folder = Path(name)
        work = bench.make(clips, workers, scenario, folder)
        command = [sys.executable, "-m", "evs_batch.bench.peers", system, scenario, str(clips), str(workers), name]
        with (folder / "log").open("wb") as log:
            environment = {**os.environ, MARK: name}
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
            killer = threading.Thread(target=_kill_a_worker, args=(work, process), daemon=True)
            if scenario == "killed worker":
                killer.start()
            try:
                process.wait(LIMIT_S)
                end = "" if process.returncode == 0 else "aborted"
            except subprocess.TimeoutExpired:
                end = "hung"
            _end_all(name)
        result = json.loads((folder / "result").read_text()) if (folder / "result").exists() else {}
        return _figures(work, result, end or "done")


def _end_all(folder: str) -> None:
    """End every process of a run: some systems leave theirs behind, which would disturb the next one."""
    wanted = f"{MARK}={folder}".encode()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in environment.read_bytes().split(b"\0"):
                os.kill(int(environment.parent.name), signal.SIGKILL)


def _kill_a_worker(work: bench.Work, process: subprocess.Popen) -> None:
    while process.poll() is None and not bench.marks(work, "call"):
        time.sleep(0.1)
    time.sleep(KILL_AFTER_S)
    pids = sorted({int(pid) for (pid,) in bench.marks(work, "worker")})
    if process.poll() is None and pids:
        os.kill(random.Random(0).choice(pids), signal.SIGKILL)


def _figures(work: bench.Work, result: dict[str, Any], end: str) -> dict[str, Any]:
    delivered = Counter(result.get("delivered", ()))
    calls = [(float(began_s), float(end_s), int(frames)) for began_s, end_s, _, frames in bench.marks(work, "call")]
    first_s, last_s = min((c[0] for c in calls), default=0.0), max((c[1] for c in calls), default=0.0)
    begun_s, done = result.get("begun_s", first_s), sum(delivered[name] for name in work.innocent)
    best_s = ideal_s(work.clips, work.workers)
    whole, hand_off = done == len(work.innocent), bench.marks(work, "hand_off")
    return {
        "clips_per_s": done / max(1e-9, last_s - first_s),
        "achieved_over_ideal": best_s / (last_s - first_s) if whole and calls else 0.0,
        "with_start_up": best_s / (result["ended_s"] - begun_s) if whole and "ended_s" in result else 0.0,
        **_losses(work, first_s, last_s, best_s),
        "first_call_s": first_s - begun_s,
        "call_frames": sum(c[2] for c in calls) / max(1, len(calls)),
        "hand_off": float(hand_off[0][0]) if hand_off else None,
        "lost": len(work.innocent - set(delivered)),
        "doubled": sum(count > 1 for count in delivered.values()),
        "end": end,
    }


def _losses(work: bench.Work, first_s: float, last_s: float, best_s: float) -> dict[str, float]:
    """What of all workers' time from the first call to the last was not ideal work.

    `late`: before a worker's first call; `between` its calls, as for loading a model; `early`: after its last call;
    `partial`: in calls that were not full or not needed. With `achieved_over_ideal` they make 1, if no clip was lost.
    """
    calls = [[(float(line[0]), float(line[1])) for line in lines] for lines in bench.marks_by_process(work, "call")]
    if not calls:
        return dict.fromkeys(LOSSES, 0.0)
    whole_s, busy_s = work.workers * (last_s - first_s), sum(end - begin for own in calls for begin, end in own)
    late_s = sum(own[0][0] - first_s for own in calls) + (work.workers - len(calls)) * (last_s - first_s)
    early_s = sum(last_s - own[-1][1] for own in calls)
    lost = (late_s, whole_s - busy_s - late_s - early_s, early_s, busy_s - work.workers * best_s)
    return {name: seconds / whole_s for name, seconds in zip(LOSSES, lost, strict=True)}


def run_here(system: str, scenario: Scenario, clips: int, workers: int, folder: Path) -> None:
    """One run in this process, on a Ray with so many GPUs that do not exist; writes what was delivered."""
    work = bench.make(clips, workers, scenario, folder)
    module, _, function = SYSTEMS[system].partition(":")
    run: Callable[[bench.Work], list[str]] = getattr(import_module(f"evs_batch.bench.peers.{module}"), function)
    ray.init(address="local", num_cpus=workers + 4, num_gpus=workers, include_dashboard=False)
    begun_s = time.time()
    delivered = run(work)
    result = {"begun_s": begun_s, "ended_s": time.time(), "delivered": delivered}
    (folder / "result").write_text(json.dumps(result))
