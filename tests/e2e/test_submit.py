"""`ray job submit` to a head node that `ray start --head` started; one of models is in tests/e2e/test_demo.py."""

import json
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import BIN, Head, environment, join, output_rows, wait_until
from tests.servers import web_server

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def nodes(head: Head) -> Iterator[None]:
    """Two more nodes, which ask for the token too."""
    joined = [join(head) for _ in range(2)]
    yield
    for node in joined:
        node.terminate()
    for node in joined:
        node.wait(60)


def test_a_job_on_three_nodes_is_stopped_and_the_same_command_resumes(
    head: Head, nodes: None, tmp_path: Path, evs_batch: Callable, make_manifest: Callable[..., Path]
):
    clips, output, log, hurry = 40, tmp_path / "out", tmp_path / "log", threading.Event()
    with web_server(ROOT / "manifests" / "clips", lambda: hurry.wait(2)) as web:
        manifest = make_manifest([{"id": f"clip{n}", "uri": f"{web}/short.mp4", "prompt": "x"} for n in range(clips)])
        command = [str(manifest), "--recipe", "identity", "--output", str(output)]
        with log.open("w") as file:
            submit = [str(ROOT / "cluster" / "submit.sh"), head.dashboard, *command]
            submitted = subprocess.Popen(submit, stdout=file, stderr=file, env=environment())
            wait_until(lambda: len(list((output / "videos").glob("*.mp4"))) >= 3)
            (job,) = set(re.findall(r"raysubmit_\w+", log.read_text()))
            stop = [str(BIN / "ray"), "job", "stop", "--address", head.dashboard, job]
            subprocess.run(stop, check=True, env=environment(), timeout=150, capture_output=True)
            submitted.wait(150)
        done = [row["id"] for row in output_rows(output)]
        published = sorted(path.stem for path in (output / "videos").iterdir())
        stats = json.loads((output / "_run" / "stats.json").read_text())
        hurry.set()
        evs_batch("run", *command)
    assert "was stopped" in log.read_text()
    assert 3 <= len(done) < clips
    assert sorted(done) == published, "what is published is committed"
    assert stats["state"] == "interrupted"
    again = json.loads((output / "_run" / "stats.json").read_text())
    used = {process["node"] for record in (stats, again) for process in record["processes"].values()}
    assert len(used) > 1, "media workers go anywhere, four in each run"
    assert Counter(row["id"] for row in output_rows(output)) == Counter(f"clip{n}" for n in range(clips))


def test_nobody_gets_in_without_the_token(head: Head, tmp_path: Path):
    stranger = {**environment(), "RAY_AUTH_MODE": "disabled"}
    jobs = [str(BIN / "ray"), "job", "list", "--address", head.dashboard]
    assert subprocess.run(jobs, env=environment(), capture_output=True, timeout=100, check=False).returncode == 0
    refused = subprocess.run(jobs, env=stranger, capture_output=True, text=True, timeout=100, check=False)
    assert refused.returncode != 0
    assert "authentication" in (refused.stdout + refused.stderr).lower()
    run = [
        str(BIN / "evs-batch"), "run", str(ROOT / "manifests" / "demo.parquet"), "--recipe", "identity", "--plain",
        "--output", str(tmp_path / "out"), "--address", head.address,
    ]  # fmt: skip
    refused = subprocess.run(run, env=stranger, capture_output=True, text=True, timeout=250, check=False)
    assert refused.returncode == 1
    assert "error (run)" in refused.stderr.splitlines()[-1]
    assert "Authentication token is missing or incorrect" in refused.stderr
    assert not output_rows(tmp_path / "out")
