"""Tables and files of figures."""

import json
from pathlib import Path

import pytest
import torch

from evs_batch.cli.figures import show
from evs_batch.runtime.memory import device_name


def test_names_that_some_rows_lack_have_a_column(capsys: pytest.CaptureFixture[str]):
    show("device", [{"part": "t2i", "seconds": 1.5}, {"part": "total", "seconds": 2.0, "memory_gb": 4.25}], None)
    head, *rows = [line for line in capsys.readouterr().out.splitlines() if "t" in line]
    assert all(name in head for name in ("part", "seconds", "memory_gb"))
    assert "1.500" in rows[0]
    assert "4.250" in rows[1]


def test_a_file_says_on_what_it_was_measured(tmp_path: Path):
    show("cpu", [{"seconds": 1.0}], tmp_path / "cpu.json", speedup=2)
    found = json.loads((tmp_path / "cpu.json").read_text())
    assert found.items() >= {"bench": "cpu", "speedup": 2, "rows": [{"seconds": 1.0}]}.items()
    assert device_name() in found["machine"]
    assert f"torch {torch.__version__}" in found["machine"]
    assert found["date"]
