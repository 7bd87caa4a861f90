"""A short round of `bench/chaos.py`: drivers, workers and nodes killed at random."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import OPEN

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.timeout(600)
def test_whoever_is_killed_every_row_is_there_once_and_equal():
    command = [sys.executable, str(ROOT / "bench" / "chaos.py"), "2", "4", "identity"]
    done = subprocess.run(
        command, env={**OPEN, "EVS_CHAOS_ROWS": "24"}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    killed = re.search(r"(\d+) kills in (\d+) rounds: no row missing", done.stdout)
    assert killed, done.stdout
    assert int(killed[1]) >= 2
