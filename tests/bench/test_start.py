"""Processes from their beginning."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from evs_batch.bench import start
from evs_batch.bench.device import weights
from evs_batch.cli.main import app
from evs_batch.models import hardware


def test_every_way_is_run_and_loads_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    programs = []

    def run(arguments: tuple[str, ...], of=start._run) -> float:
        programs.append(arguments)
        return of(arguments) if arguments in (start.INTERPRETER, start.HELP) else float(len(programs))

    monkeypatch.setattr(start, "_run", run)
    done = CliRunner().invoke(app, ["bench", "start", "--repeats=2", f"--folder={tmp_path}"])
    assert done.exit_code == 0, done.output
    assert "worker with both" in done.output
    assert len(programs) == 3 * 6, "the first turn does not count"
    assert sum(str(tmp_path / "motion") in arguments[-1] for arguments in programs) == 3 * 3
    assert sum("t2v.load" in arguments[-1] for arguments in programs) == 3


@pytest.mark.parametrize("way", ["worker with both", "plain script"])
def test_programs_load_weights_of_bench_device(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    weights.write(tmp_path, "small", hardware.device())
    found = []
    monkeypatch.setattr(start, "_run", lambda arguments: found.append(arguments) or 1.0)
    rows = [row["way"] for row in start.compare(tmp_path, 1)]
    monkeypatch.undo()
    assert start._run(found[rows.index(way)]) > 0
