"""A cluster that grows and shrinks under a run: several nodes of Ray on this machine."""

import json
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from tests.conftest import ROOT
from tests.e2e.conftest import BIN, environment, output_rows, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow]
STORE = 200_000_000
CLIPS = 16
OPEN = {**environment(), "RAY_AUTH_MODE": "disabled"}  # Ray reads a token once for a process, and this one has none


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in OPEN.items():
        monkeypatch.setenv(name, value)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1, "object_store_memory": STORE})
    yield made
    made.shutdown()


def test_nodes_that_join_are_used_and_nodes_that_leave_are_survived(tmp_path: Path, cluster: Any, make_manifest):
    clip = ROOT / "manifests" / "clips" / "short.mp4"
    rows = [{"id": f"clip{n}", "uri": str(clip), "prompt": "a red star", "seed": n} for n in range(CLIPS)]
    output, stats = tmp_path / "out", tmp_path / "out" / "_run" / "stats.json"
    command = ["run", str(make_manifest(rows)), "--recipe", "demo", "--set", "t2v.switch_at=[2]"]
    process = subprocess.Popen(
        [str(BIN / "evs-batch"), *command, "--output", str(output), "--address", cluster.address],
        env=OPEN, cwd=ROOT,
    )  # fmt: skip

    def models() -> int:
        workers = json.loads(stats.read_text())["workers"] if stats.exists() else {}
        return sum(count for roles, count in workers.items() if roles != "media")

    wait_until(lambda: models() == 1)
    joined = cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=STORE)
    began_s = time.monotonic()
    wait_until(lambda: models() == 2, limit_s=60)
    print(f"a worker on the new node after {time.monotonic() - began_s:.1f} s")
    time.sleep(3)
    cluster.remove_node(joined, allow_graceful=False)
    assert process.wait(240) == 0
    rows = output_rows(output)
    assert Counter(row["status"] for row in rows) == {"success": CLIPS}
    assert len({row["id"] for row in rows}) == CLIPS
    processes = json.loads(stats.read_text())["processes"]
    assert len({process["node"] for process in processes.values()}) == 2
