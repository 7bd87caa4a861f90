"""`cluster/slurm.sh` under a real Slurm of two nodes (`apt-get install slurmctld slurmd slurm-client`)."""

import os
import re
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import BIN, OPEN, output_rows, wait_until
from tests.servers import free_port, web_server

CLIPS = 40
NODES = ("first", "second")


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Runs a command of Slurm; gives what it says."""
    if os.geteuid() or not all(map(shutil.which, ("slurmctld", "slurmd", "sbatch"))):
        pytest.skip("no Slurm here, or no right to start it")
    environ = {**OPEN, "SLURM_CONF": str(tmp_path / "slurm.conf")}
    (tmp_path / "slurm.conf").write_text(_conf(tmp_path))
    daemons = [["slurmctld", "-D"], *[["slurmd", "-D", "-N", node] for node in NODES]]
    started = []

    def up() -> bool:
        ping = subprocess.run(["scontrol", "ping"], env=environ, capture_output=True, text=True, check=False)
        return "is UP" in ping.stdout

    for command in daemons:
        with (tmp_path / f"{command[-1]}.log").open("wb") as log:
            started.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log))
        wait_until(up)  # a node that does not find it at the first try asks again much later

    def run(*command: str) -> str:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        wait_until(lambda: run("sinfo", "-h", "-o", "%T %D").split() == ["idle", "2"])
        yield run
        run("scancel", "--full", "--user=root")
        wait_until(lambda: not run("squeue", "-h"), limit_s=60)
    finally:
        for daemon in started:
            daemon.terminate()


def _conf(folder: Path) -> str:
    host = socket.gethostname()
    settings = {
        "ClusterName": "test", "SlurmctldHost": f"{host}(127.0.0.1)", "SlurmctldPort": free_port(),
        "SlurmUser": "root", "SlurmdUser": "root", "AuthType": "auth/none", "CredType": "cred/none",
        "StateSaveLocation": folder / "state", "SlurmdSpoolDir": folder / "spool_%n",
        "SlurmctldPidFile": folder / "ctld.pid", "SlurmdPidFile": folder / "slurmd_%n.pid",
        "ProctrackType": "proctrack/linuxproc", "TaskPlugin": "task/none", "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core", "MpiDefault": "none", "ReturnToService": 2,
    }  # fmt: skip
    lines = [f"{name}={value}" for name, value in settings.items()]
    lines += [f"NodeName={n} NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs=1" for n in NODES]
    return "\n".join([*lines, f"PartitionName=all Nodes={','.join(NODES)} Default=YES State=UP", ""])


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_that_is_stopped_commits_goes_back_into_the_queue_and_resumes(slurm, tmp_path: Path, make_manifest):
    """The videos come from a slow server until it is stopped."""
    output, log, hurry = tmp_path / "out", tmp_path / "job.log", threading.Event()
    path = f"--export=ALL,PATH={BIN}:{os.environ['PATH']}"
    with web_server(ROOT / "manifests" / "clips", lambda: hurry.wait(1)) as web:
        rows = [{"id": f"clip{n}", "uri": f"{web}/short.mp4", "prompt": "a star"} for n in range(CLIPS)]
        said = slurm(
            "sbatch", "--nodes=2", "--gpus-per-node=0", path, f"--output={log}", str(ROOT / "cluster" / "slurm.sh"),
            str(make_manifest(rows)), "--recipe", "identity", "--output", str(output),
        )  # fmt: skip
        job = re.findall(r"\d+", said)[0]
        wait_until(lambda: len(list((output / "videos").glob("*.mp4"))) >= 3)
        slurm("scancel", "--signal=TERM", "--batch", job)
        wait_until(lambda: "Restarts=1" in slurm("scontrol", "show", "job", job))
        done = [row["id"] for row in output_rows(output)]
        assert 3 <= len(done) < CLIPS
        wait_until(lambda: "JobState=PENDING" in slurm("scontrol", "show", "job", job))
        hurry.set()
        # not in two minutes, as Slurm would, nor in the second in which nodes were told that the job has ended
        slurm("scontrol", "update", f"jobid={job}", "starttime=now+3")
        wait_until(lambda: "JobState=COMPLETED" in slurm("scontrol", "show", "job", job), limit_s=200)
    assert Counter(row["id"] for row in output_rows(output)) == Counter(f"clip{n}" for n in range(CLIPS))
    assert f"{len(done)} of them from an earlier run" in log.read_text()
