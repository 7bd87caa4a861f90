"""The live view on a terminal."""

import fcntl
import os
import pty
import struct
import subprocess
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
