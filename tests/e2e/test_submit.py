"""`ray job submit` to a head node that `ray start --head` started; one of models is in tests/e2e/test_demo.py."""

import json
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commands import run_here
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


CLIPS = 60


def test_a_job_on_three_nodes_is_stopped_and_the_same_command_resumes(
    head: Head, nodes: None, tmp_path: Path, make_manifest: Callable[..., Path]
):
    """The videos come from a slow server until it is stopped."""
    output, log, hurry = tmp_path / "out", tmp_path / "log", threading.Event()
    with web_server(ROOT / "manifests" / "clips", lambda: hurry.wait(1)) as web, log.open("w") as file:
        uri = f"{web}/short.mp4"
        manifest = make_manifest([{"id": f"clip{n}", "uri": uri, "prompt": "a star"} for n in range(CLIPS)])
        submit = [str(ROOT / "cluster" / "submit.sh"), head.dashboard, str(manifest)]
        submit += ["--recipe", "identity", "--output", str(output)]
        submitted = subprocess.Popen(submit, stdout=file, stderr=file, env=environment())
        wait_until(lambda: len(list((output / "videos").glob("*.mp4"))) >= 3)
        wait_until(lambda: re.search(rf"running +\d+/{CLIPS} rows", log.read_text()) is not None)
        _is_running(output)
        (job,) = set(re.findall(r"raysubmit_\w+", log.read_text()))
        stop = [str(BIN / "ray"), "job", "stop", "--address", head.dashboard, job]
        subprocess.run(stop, check=True, env=environment(), timeout=150, capture_output=True)
        submitted.wait(150)
        assert "was stopped" in log.read_text()
        done = [row["id"] for row in output_rows(output)]
        assert 3 <= len(done) < CLIPS
        published = sorted(path.stem for path in (output / "videos").iterdir())
        assert sorted(done) == published, "what is published is committed"
        stats = json.loads((output / "_run" / "stats.json").read_text())
        assert stats["state"] == "interrupted"
        hurry.set()
        resumed = subprocess.run(submit, capture_output=True, text=True, env=environment(), timeout=250, check=False)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert f"{CLIPS} of {CLIPS} rows done" in resumed.stdout + resumed.stderr
    again = json.loads((output / "_run" / "stats.json").read_text())
    used = {process["node"] for record in (stats, again) for process in record["processes"].values()}
    assert len(used) > 1, "media workers go anywhere, four in each run"
    assert Counter(row["id"] for row in output_rows(output)) == Counter(f"clip{n}" for n in range(CLIPS))


def _is_running(output: Path) -> None:
    told = json.loads(run_here("status", output, "--json").stdout)
    assert (told["state"], told["rows"]) == ("running", CLIPS)
    assert {"decode", "encode"} <= told["stages"].keys()
    shown = run_here("status", output).stdout
    assert "running" in shown
    assert f"/{CLIPS} rows" in shown


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
