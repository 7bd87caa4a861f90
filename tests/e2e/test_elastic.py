"""A cluster that grows and shrinks under a run: several nodes of Ray on this machine."""

import json
import os
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import BIN, OPEN, STORE, output_rows, wait_until
from tests.servers import web_server

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]
CLIPS = 60
LIGHT = ["--set", "composition=T2I", "--set", "t2i.steps=5", "--set", "runtime.frames_per_forward=2"]


def test_nodes_that_join_are_used_and_nodes_that_leave_are_survived(
    tmp_path: Path, cluster: Any, make_video, make_manifest
):
    """The videos come from a slow server, so that the run lasts until all of that has happened."""
    make_video("a.mp4", frames=2)
    output, stats, hurry = tmp_path / "out", tmp_path / "out" / "_run" / "stats.json", threading.Event()

    def models() -> int:
        workers = json.loads(stats.read_text())["workers"] if stats.exists() else {}
        return sum(count for roles, count in workers.items() if roles != "media")

    with web_server(tmp_path, lambda: hurry.wait(2)) as web:
        rows = [{"id": f"clip{n}", "uri": f"{web}/a.mp4", "prompt": "a red star"} for n in range(CLIPS)]
        command = ["run", str(make_manifest(rows)), "--recipe", "demo", *LIGHT]
        process = subprocess.Popen(
            [str(BIN / "evs-batch"), *command, "--output", str(output), "--address", cluster.address],
            env=OPEN, cwd=ROOT,
        )  # fmt: skip
        try:
            wait_until(lambda: models() == 1)
            drained, killed = (cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=STORE) for _ in range(2))
            wait_until(lambda: models() == 3, limit_s=200)
            _drain(cluster, drained)
            wait_until(lambda: models() == 2, limit_s=200)
            cluster.remove_node(drained)
            cluster.remove_node(killed, allow_graceful=False)
            hurry.set()
            assert process.wait(240) == 0
        finally:
            hurry.set()
            process.kill()
    rows = output_rows(output)
    assert Counter(row["status"] for row in rows) == {"success": CLIPS}
    assert len({row["id"] for row in rows}) == CLIPS
    processes = json.loads(stats.read_text())["processes"]
    assert len({process["node"] for process in processes.values()}) == 3


def _drain(cluster: Any, node: Any) -> None:
    """Say of a node that it will be taken away, as clouds do."""
    why = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
    soon = ["--deadline-remaining-seconds", "60"]
    subprocess.run(
        [str(BIN / "ray"), "drain-node", "--address", cluster.address, "--node-id", node.node_id, *why, *soon],
        env=OPEN, check=True, capture_output=True,
    )  # fmt: skip


AUTOSCALER = {
    "cluster_name": "fake", "max_workers": 1, "upscaling_speed": 1.0, "idle_timeout_minutes": 5,
    "provider": {
        "type": "fake_multinode", "disable_node_updaters": True, "disable_launch_config_check": True,
        "foreground_node_launch": True,
    },
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
        "gpu": {
            "resources": {"CPU": 1, "GPU": 1, "object_store_memory": STORE}, "node_config": {},
            "min_workers": 0, "max_workers": 1,
        },
    },
    "auth": {"ssh_user": "nobody"}, "file_mounts": {}, "cluster_synced_files": [],
    "initialization_commands": [], "setup_commands": [], "head_setup_commands": [], "worker_setup_commands": [],
    "head_start_ray_commands": [], "worker_start_ray_commands": [],
}  # fmt: skip
PORT = 6379  # where nodes of that provider look for their head


def test_an_autoscaler_brings_the_gpus_that_a_run_asks_for(tmp_path: Path, make_manifest):
    config, output = tmp_path / "cluster.json", tmp_path / "out"
    config.write_text(json.dumps(AUTOSCALER))
    head = [str(BIN / "ray"), "start", "--head", "--block", f"--port={PORT}", "--include-dashboard=false"]
    environ = {**OPEN, "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    process = subprocess.Popen(
        [*head, "--num-cpus=1", f"--autoscaling-config={config}", f"--object-store-memory={STORE}"],
        env=environ, start_new_session=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    row = {"id": "a", "uri": str(ROOT / "manifests" / "clips" / "short.mp4"), "prompt": "a red star"}
    asked = ["--set", "runtime.workers=1", "--set", "runtime.gpus_per_worker=1", *LIGHT]
    try:
        wait_until(lambda: _status().returncode == 0)
        subprocess.run(
            [str(BIN / "evs-batch"), "run", str(make_manifest([row])), "--recipe", "demo", *asked,
             "--output", str(output), "--address", f"127.0.0.1:{PORT}"],
            env=OPEN, check=True, timeout=280, cwd=ROOT,
        )  # fmt: skip
        assert [row["status"] for row in output_rows(output)] == ["success"]
        wait_until(lambda: "From request_resources:\n (none)" in _status().stdout)
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def _status() -> subprocess.CompletedProcess:
    command = [str(BIN / "ray"), "status", "--address", f"127.0.0.1:{PORT}"]
    return subprocess.run(command, env=OPEN, capture_output=True, text=True, check=False)
