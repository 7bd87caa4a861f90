"""Which runs the comparison with other systems makes, in which order."""

from typing import Any

import pytest
from typer.testing import CliRunner

from evs_batch.bench.peers import compare
from evs_batch.cli.main import app

FIGURES = dict.fromkeys(("clips_per_s", "achieved_over_ideal", "with_start_up", "first_call_s", "call_frames"), 1.0)
RESULT: dict[str, Any] = {**FIGURES, **dict.fromkeys(compare.LOSSES, 0.0), "hand_off": None, "lost": 0, "doubled": 0}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """The runs that are asked for, without running them."""
    runs: list[tuple[str, str, int]] = []

    def run(system: str, scenario: str, clips: int, workers: int) -> dict[str, Any]:
        runs.append((scenario, system, clips))
        return {**RESULT, "end": "done"}

    monkeypatch.setattr(compare, "run_apart", run)
    return runs


def test_repeats_are_interleaved_and_one_worker_gets_its_share_and_no_faults(made: list):
    systems = ["sequential", "static", "evs_batch"]
    rows = list(compare.compare(64, 4, 2, systems, ["none", "killed worker"]))
    turn = [("none", "sequential", 16), ("none", "static", 64), ("none", "evs_batch", 64)]
    assert made == [*turn, *turn, ("killed worker", "static", 32), ("killed worker", "evs_batch", 32)]
    assert [(row["scenario"], row["system"]) for row in rows] == [(a, b) for a, b, _ in made[:3] + made[6:]]


def test_only_the_scenarios_that_are_named_are_run(made: list):
    done = CliRunner().invoke(app, ["bench", "peers", "--system", "evs_batch", "--scenario", "killed worker"])
    assert done.exit_code == 0
    assert made == [("killed worker", "evs_batch", 128)]


@pytest.mark.parametrize(("option", "value"), [("--scenario", "kiled worker"), ("--system", "evs-batch")])
def test_a_name_that_does_not_exist_is_refused_with_the_nearest(option: str, value: str, made: list):
    done = CliRunner().invoke(app, ["bench", "peers", option, value])
    assert "did you mean" in str(done.exception)
    assert made == []
