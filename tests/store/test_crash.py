"""Drivers that are killed at every single step of their commits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.store.crashing import ROWS

pytestmark = pytest.mark.slow


def test_a_driver_that_is_killed_at_any_step_loses_and_doubles_nothing(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.store.crashing", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(steps) > 100
    for step in steps:
        before, after = step["before"], step["after"]
        assert set(before["rows"].values()) <= {1}, "a reader in between sees no row twice"
        assert set(before["rows"]) <= set(before["videos"]), "and no row without its video"
        assert bool(before["half"]) == ("half files" in before["left"]), "what is left behind is named"
        assert after["rows"] == dict.fromkeys(ROWS, 1)
        assert after["videos"] == ROWS
        assert (after["half"], after["left"]) == ([], {})
    kinds = {kind for step in steps for kind in step["before"]["left"]}
    assert kinds == {"half files", "videos without a row"}
