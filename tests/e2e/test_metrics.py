"""What Prometheus sees of a run, from the port of a real head node; and the dashboard that shows it."""

import json
import re
import subprocess
import threading
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import BIN, Head, environment, wait_until
from tests.servers import web_server

WANTED = {
    "ray_evs_clips_total": 1,
    "ray_evs_workers": 1,
    "ray_evs_frames_total decode": 40,
    "ray_evs_artifact_bytes_total decode": 40 * 90 * 160 * 3,
}
SHOWN = re.compile(r"ray_(evs_[a-z_]+?)(?:_bucket)?\b")


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_can_be_scraped(tmp_path: Path, head: Head, make_video, make_manifest):
    """The videos come from a slow server, so that the run lasts until then."""
    make_video("a.mp4", frames=40, height=90, width=160)
    hurry = threading.Event()
    found: dict[str, float] = {}

    def scraped() -> bool:
        try:
            with urllib.request.urlopen(head.metrics, timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            return False  # the node's agent comes up after the node
        for line in text.splitlines():
            if line.startswith("ray_evs_"):
                name, labels, value = re.match(r"(\w+)\{(.*)\} (\S+)", line).groups()  # type: ignore[union-attr]
                stage = re.search(r'stage="(\w+)"', labels)
                key = f"{name} {stage[1] if stage else ''}".strip()
                found[key] = max(found.get(key, 0), float(value))  # an earlier run's may be there, too
        return all(found.get(name, 0) >= least for name, least in WANTED.items())

    with web_server(tmp_path, lambda: hurry.wait(1)) as web:
        manifest = make_manifest([{"id": f"clip{n}", "uri": f"{web}/a.mp4", "prompt": "x"} for n in range(24)])
        command = ["run", str(manifest), "--recipe", "identity", "--output", str(tmp_path / "out")]
        process = subprocess.Popen(
            [str(BIN / "evs-batch"), *command, "--address", head.address], env=environment(), cwd=ROOT
        )
        wait_until(scraped)
        hurry.set()
        assert process.wait(200) == 0
    assert found["ray_evs_busy_seconds_total decode"] > 0
    assert found["ray_evs_admitted_bytes"] > 0


def test_the_dashboard_shows_every_metric_and_no_other():
    source = (ROOT / "evs_batch" / "runtime" / "metrics.py").read_text()
    declared = set(re.findall(r'"(evs_[a-z_]+)"', source))
    dashboard = json.loads((ROOT / "cluster" / "grafana.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert {name for query in queries for name in SHOWN.findall(query)} == declared
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
