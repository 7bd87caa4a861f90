import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evs_batch.bench import schedule
from evs_batch.cli.main import app


def test_roles_are_first_wherever_both_models_fit():
    rows = {row["policy"]: row["achieved_over_ideal"] for row in schedule.measure(8)}
    assert rows.keys() == {"data_parallel", "static", "roles, swapping", "roles"}
    assert rows["roles"] > 0.97
    assert rows["roles"] > max(rows["static"], rows["data_parallel"])
    assert rows["static"] == pytest.approx(min(5 / 0.010, 3 / 0.0065) / (8 / 0.0165), rel=0.03), "the slower half"


def test_fixed_pools_are_as_good_as_the_best_split():
    (row,) = [row for row in schedule.measure(5) if row["policy"] == "static"]
    assert row["of_best_split"] > 0.99
    clips = schedule.workload(5)
    shortest_s = min(schedule._simulated(schedule._split(t2i, 5), clips)[0] for t2i in range(1, 5))
    assert schedule.best_split_s(clips, 5) == shortest_s


def test_data_parallel_pays_for_calls_that_are_not_full():
    one = schedule.data_parallel_s({"a": 16, "b": 64}, workers=1)
    assert one == pytest.approx(80 * 0.0165 + 6 * 0.02)
    assert schedule.data_parallel_s({"a": 16, "b": 64}, workers=2) == pytest.approx(64 * 0.0165 + 3 * 0.02)


def test_the_figures_are_written_as_the_contract_says(tmp_path: Path):
    done = CliRunner().invoke(app, ["bench", "schedule", "--workers", "2", "--json", str(tmp_path / "f.json")])
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures.keys() >= {"bench", "machine", "date", "rows"}
    assert {"policy", "workers", "achieved_over_ideal"} <= figures["rows"][0].keys()
