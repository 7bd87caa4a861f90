import fcntl
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from evs_batch.store import scratch

KILLED = """
import os, signal
from pathlib import Path
from typing import Any
from evs_batch.store import scratch
with scratch.folder() as name:
    (Path(name) / "half.mp4").write_bytes(b"x")
    os.kill(os.getpid(), signal.SIGKILL)
"""
LIVING = """
import sys
from evs_batch.store import scratch
with scratch.folder() as name:
    print(name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    scratch._of_process.cache_clear()


def test_what_a_killed_process_left_goes_with_the_next_and_what_lives_stays(tmp_path: Path):
    (tmp_path / "evs-batch-of-mine").mkdir()
    subprocess.run([sys.executable, "-c", KILLED], check=False)
    assert len(list(tmp_path.rglob("half.mp4"))) == 1
    with subprocess.Popen(
        [sys.executable, "-c", LIVING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as living:
        assert living.stdout
        theirs = Path(living.stdout.readline().strip())
        with scratch.folder() as mine:
            assert theirs.exists()
            assert not list(tmp_path.rglob("half.mp4"))
            assert Path(mine).parent.parent == tmp_path
        assert not Path(mine).exists()
        living.kill()
    scratch.sweep()
    assert not theirs.exists()
    assert (tmp_path / "evs-batch-of-mine").exists(), "it has no lock, so it is none of ours"


def test_a_folder_that_is_swept_before_its_lock_is_taken_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real, swept = fcntl.flock, []

    def late(file: Any, how: int) -> None:
        if how == fcntl.LOCK_EX and not swept:  # the owner's, just before
            swept.extend(path.name for path in tmp_path.glob("evs-batch-*"))
            subprocess.run([sys.executable, "-c", "from evs_batch.store import scratch; scratch.sweep()"], check=True)
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with scratch.folder() as name:
        assert len(swept) == 1
        assert not (tmp_path / swept[0]).exists()
        assert Path(name).exists()
        assert Path(name).parent.name not in swept


def test_who_sweeps_holds_the_lock_until_all_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    subprocess.run([sys.executable, "-c", KILLED], check=False)
    real, free = shutil.rmtree, []

    def watched(path: Path, **options: Any) -> None:
        with (path / ".lock").open("rb+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free.append(path)
            except BlockingIOError:
                pass
        real(path, **options)

    monkeypatch.setattr(shutil, "rmtree", watched)
    scratch.sweep()
    assert not list(tmp_path.glob("evs-batch-*"))
    assert not free, "its next owner would take it while it goes"
