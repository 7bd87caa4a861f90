"""A cluster without GPUs: several nodes of Ray on this machine, of which one has little memory."""

import json
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.conftest import ROOT
from tests.e2e.conftest import BIN, OPEN, STORE, output_rows, wait_until
from tests.servers import web_server

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]
LIGHT = ["--set", "composition=T2I", "--set", "t2i.steps=5", "--set", "runtime.frames_per_forward=2"]


def test_small_models_are_on_each_core_but_one_where_their_memory_is(
    tmp_path: Path, make_video, make_manifest, monkeypatch: pytest.MonkeyPatch
):
    """Ray starts no more of them on a node than it has memory for; its videos are slow, so that all start."""
    for name, value in OPEN.items():
        monkeypatch.setenv(name, value)
    make_video("a.mp4", frames=2)
    output, hurry = tmp_path / "out", threading.Event()
    stats = output / "_run" / "stats.json"

    def processes() -> Counter[str]:
        known = json.loads(stats.read_text())["processes"] if stats.exists() else {}
        return Counter(process["node"] for process in known.values() if process["role"] != "media")

    node = {"object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "memory": 5 * 10**8, **node})
    try:
        cluster.add_node(num_cpus=4, memory=25 * 10**8, object_store_memory=STORE)
        cluster.add_node(num_cpus=4, memory=64 * 10**9, object_store_memory=STORE)
        with web_server(tmp_path, lambda: hurry.wait(2)) as web:
            rows = [{"id": f"clip{n}", "uri": f"{web}/a.mp4", "prompt": "a red star"} for n in range(40)]
            command = ["run", str(make_manifest(rows)), "--recipe", "demo", *LIGHT, "--address", cluster.address]
            process = subprocess.Popen([str(BIN / "evs-batch"), *command, "--output", str(output)], env=OPEN, cwd=ROOT)
            wait_until(lambda: processes().total() == 4, limit_s=200)
            hurry.set()
            assert process.wait(240) == 0
    finally:
        hurry.set()
        cluster.shutdown()
    assert sorted(processes().values()) == [1, 3]
    assert Counter(row["status"] for row in output_rows(output)) == {"success": 40}
