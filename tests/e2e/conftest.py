"""A real head node, and the real command line."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray.cluster_utils import Cluster

from tests.conftest import ROOT
from tests.servers import S3_ENVIRONMENT, free_port

BIN = Path(sys.executable).parent
STARTUP_S = 90


@dataclass(frozen=True)
class Head:
    """Where a Ray head node listens."""

    address: str
    dashboard: str
    metrics: str
    folder: Path


TOKEN = secrets.token_hex(32)


def environment() -> dict[str, str]:
    """For the head node and all that speak to it: our Python first, token authentication on."""
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    path = f"{BIN}:{os.environ['PATH']}"
    return {
        **inherited,
        **S3_ENVIRONMENT,
        "PATH": path,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_metrics_report_interval_ms": "1000",
    }


STORE = 200_000_000
OPEN = {**environment(), "RAY_AUTH_MODE": "disabled"}  # Ray reads a token once for a process, and this one has none


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of one node, which may get more."""
    node = {"num_cpus": 2, "num_gpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OPEN.items():
            patch.setenv(name, value)
        made = Cluster(initialize_head=True, head_node_args=node)
        yield made
        made.shutdown()


@pytest.fixture(scope="package")
def head() -> Iterator[Head]:
    """`ray start --head` in a process group of its own, which ends with these tests: it is never quite idle."""
    port, dashboard, metrics = free_port(), free_port(), free_port()
    folder = tempfile.mkdtemp(prefix="evs", dir="/tmp")  # short: sockets lie in it
    command = [
        str(ROOT / "cluster" / "start.sh"), "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}",
        "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={free_port()}",
        f"--ray-client-server-port={free_port()}", "--num-cpus=2", "--object-store-memory=500000000",
        f"--temp-dir={folder}", f"--metrics-export-port={metrics}",
    ]  # fmt: skip
    with (Path(folder) / "head.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(), start_new_session=True)
    try:
        _wait_for(dashboard, process, Path(folder) / "head.log")
        yield Head(
            f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", f"http://127.0.0.1:{metrics}/metrics", Path(folder)
        )
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def join(head: Head) -> subprocess.Popen:
    """A node that has joined the head, as one on another machine does."""
    command = [
        str(ROOT / "cluster" / "start.sh"), f"--address={head.address}", "--block", "--node-ip-address=127.0.0.1",
        "--num-cpus=3", f"--object-store-memory={STORE}", f"--dashboard-agent-listen-port={free_port()}",
    ]  # fmt: skip
    log = head.folder / f"node{free_port()}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment(), start_new_session=True)
    wait_until(lambda: "Ray runtime started" in log.read_text())
    return process


def _wait_for(port: int, process: subprocess.Popen, log: Path) -> None:
    deadline_s = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline_s:
        assert process.poll() is None, f"the head node ended: {log.read_text()}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"the head node does not come up: {log.read_text()}")


@pytest.fixture
def evs_batch(head: Head) -> Callable[..., subprocess.CompletedProcess]:
    """Run the command line against the head node."""

    def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess:
        where = ["--address", head.address] if arguments[0] == "run" else []
        done = subprocess.run(
            [str(BIN / "evs-batch"), *map(str, arguments), *where],
            capture_output=True, text=True, env=environment(), timeout=280, cwd=ROOT, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


def output_rows(output: Path) -> list[dict[str, Any]]:
    """All rows of an output manifest."""
    tables = [pq.read_table(part) for part in sorted((output / "manifest").glob("*.parquet"))]
    return pa.concat_tables(tables).to_pylist() if tables else []


def wait_until(condition: Callable[[], bool], limit_s: float = 120) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.05)
