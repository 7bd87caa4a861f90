"""The live view on a terminal, and that `status` knows what it shows."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import BIN, Head, environment

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_a_terminal_shows_stages_pools_and_how_far_it_is(head: Head, tmp_path: Path):
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    command = [
        str(BIN / "evs-batch"), "run", str(ROOT / "manifests" / "demo.parquet"), "--recipe", "identity",
        "--output", str(tmp_path / "out"), "--address", head.address,
    ]  # fmt: skip
    run = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env={**environment(), "TERM": "xterm-256color"}
    )
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(screen, 65536):
            shown += part
    except OSError:  # how Linux says that nobody writes to a terminal any more
        pass
    os.close(screen)
    assert run.wait(60) == 0, shown.decode(errors="replace")[-3000:]
    text = shown.decode(errors="replace")
    assert "\x1b[" in text
    assert "/6 rows" in text
    for word in ("decode", "encode", "media", "6 of 6 rows done"):
        assert word in text, word


WATCHED = """
import json, sys
from pathlib import Path
from evs_batch import run
manifest, output, address = sys.argv[1:]
stats = Path(output, "_run", "stats.json")
run(manifest, "identity", output, address=address,
    watch=lambda progress: print("seen", progress.state, json.loads(stats.read_text())["state"]))
"""


def test_status_tells_a_new_state_no_later_than_the_live_view(head: Head, tmp_path: Path):
    """It read "starting" for two seconds more, while the log of the same run said "running"."""
    command = [sys.executable, "-c", WATCHED, str(ROOT / "manifests" / "demo.parquet"), tmp_path / "out", head.address]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=250, check=True)
    seen = {tuple(line.split()[1:]) for line in ran.stdout.splitlines() if line.startswith("seen ")}
    assert seen - {("starting", "starting")} == {("running", "running"), ("done", "done")}
