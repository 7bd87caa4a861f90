import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from evs_batch.store import scratch

KILLED = """
import os, signal
from pathlib import Path
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
