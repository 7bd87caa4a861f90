"""Kills drivers, workers and nodes of runs at random, starts them again, and looks at what is left.

    python bench/chaos.py [KILLS] [SEED] [RECIPE …]        with identity the stages of videos only, with demo the models

Three nodes of Ray on this machine. A round is one output folder: whatever is killed, the same command is run until it
is done. Then every row must be there once, with the bytes of an undisturbed run, and nothing else.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ray.cluster_utils import Cluster

from evs_batch.store import ledger, parts

ROOT = Path(__file__).resolve().parent.parent
ROWS, STORE = int(os.environ.get("EVS_CHAOS_ROWS", "40")), 200_000_000
RECIPES = {
    "identity": [],
    "demo": ["--set", "t2v.switch_at=[2]", "--set", "runtime.batch_frames=16", "--limit", "8"],
}
PAUSE_S = {"identity": 8.0, "demo": 60.0}  # at most, or twice a run, between two kills: loading models takes a while
VICTIMS = ("driver", "driver", "worker", "worker", "worker", "node")
MARK = "EVS_BATCH_CHAOS"  # in the environment of all processes that may be killed
ENVIRONMENT = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", MARK: str(os.getpid())}


def command(manifest: Path, recipe: str, output: Path, address: str) -> list[str]:
    """A run whose clips have as many attempts as they need: here nobody is guilty."""
    settings = [*RECIPES[recipe], "--set", "runtime.max_attempts=50", "--plain", "--address", address]
    run = ["run", str(manifest), "--recipe", recipe, "--output", str(output)]
    return [sys.executable, "-m", "evs_batch", *run, *settings]


def start(arguments: list[str]) -> subprocess.Popen:
    return subprocess.Popen(arguments, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def workers() -> list[int]:
    """Processes of actors that serve stages."""
    found = []
    for name in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            ours = f"{MARK}={os.getpid()}".encode() in name.with_name("environ").read_bytes()
            if ours and name.read_bytes().startswith(b"ray::Worker"):
                found.append(int(name.parent.name))
        except OSError:
            continue
    return found


def kill_one(rng: random.Random, driver: subprocess.Popen, cluster: Cluster, nodes: list[Any]) -> str | None:
    """Kill somebody; says whom."""
    victim = rng.choice(VICTIMS)
    if victim == "driver":
        driver.kill()
        driver.wait()
    elif victim == "node":
        cluster.remove_node(nodes.pop(rng.randrange(len(nodes))), allow_graceful=False)
        nodes.append(cluster.add_node(num_cpus=1, object_store_memory=STORE))
    elif pids := workers():
        try:
            os.kill(rng.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            return None
    else:
        return None
    return victim


def outcome(output: Path) -> dict[str, Any]:
    """Rows by id with what must be equal, and whatever should not be there."""
    folder = str(output / "manifest")
    rows = [row for path in parts.listed(folder) for row in parts.read(path).to_pylist()]
    counts = Counter(row["id"] for row in rows)
    assert set(counts.values()) == {1}, f"rows that are there twice: {counts}"
    assert len(parts.listed(folder)) == len(list((output / "manifest").iterdir())), "parts that are replaced"
    videos = {path.name for path in (output / "videos").iterdir()}
    assert videos == {f"{name}.mp4" for name in counts}, f"videos without a row, or half ones: {videos}"
    assert not ledger.leftovers(str(output)), "left behind"
    return {row["id"]: (row["status"], row["output_sha256"], row["num_frames"]) for row in rows}


def main() -> None:
    """Rounds until so many have been killed."""
    wanted, seed = (int(sys.argv[1]) if len(sys.argv) > 1 else 20), (int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    recipes = sys.argv[3:] or list(RECIPES)
    rng, kills, rounds, began_s = random.Random(seed), Counter[str](), 0, time.monotonic()
    os.environ |= ENVIRONMENT
    with tempfile.TemporaryDirectory(prefix="evs-chaos-") as name:
        folder, clip = Path(name), str(ROOT / "manifests" / "clips" / "short.mp4")
        manifest = folder / "rows.parquet"
        rows = [{"id": f"clip{n}", "uri": clip, "prompt": "a red star", "seed": n} for n in range(ROWS)]
        pq.write_table(pa.Table.from_pylist(rows), manifest)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": STORE})
        nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]
        undisturbed, pause_s = {}, {}
        for recipe in recipes:
            started_s = time.monotonic()
            assert start(command(manifest, recipe, folder / recipe, cluster.address)).wait() == 0
            undisturbed[recipe] = outcome(folder / recipe)
            pause_s[recipe] = max(PAUSE_S[recipe], 2 * (time.monotonic() - started_s))
        while kills.total() < wanted:
            recipe, output, drivers = rng.choice(recipes), folder / f"round{rounds}", 0
            code: int | None = None
            while code != 0:
                driver, drivers = start(command(manifest, recipe, output, cluster.address)), drivers + 1
                while (code := driver.poll()) is None:
                    try:
                        code = driver.wait(rng.uniform(0.5, pause_s[recipe]) if kills.total() < wanted else None)
                    except subprocess.TimeoutExpired:
                        if killed := kill_one(rng, driver, cluster, nodes):
                            kills[killed] += 1
            assert outcome(output) == undisturbed[recipe], "another result"
            rounds += 1
            minutes = (time.monotonic() - began_s) / 60
            print(f"round {rounds}: {recipe}, {drivers} drivers; {dict(kills)} in {minutes:.1f} min", flush=True)
        cluster.shutdown()
    print(f"{kills.total()} kills in {rounds} rounds: no row missing, none twice, every byte as it should be")


if __name__ == "__main__":
    main()
