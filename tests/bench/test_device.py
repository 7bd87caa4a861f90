"""The paper's jobs with a few channels, on whatever device is here."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from evs_batch.bench import levers
from evs_batch.bench.device import jobs
from evs_batch.cli.main import app

SHORT = [
    "t2i.steps=10",
    "t2v.switch_at=[2]",
    "t2v.window=4",
    "t2v.overlap=2",
    "runtime.frames_per_forward=4",
    "runtime.precision=fp32",
    "runtime.compile=off",
]


FASTER = ("cache 3, guidance in half, small decoder", "cache 2, guidance in half, a quarter of the keys")
WAYS = ("eager", *FASTER)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("weights")
    found = jobs.compare(folder, "small", {"VC2": (64, 64)}, settings=WAYS, frames=4, repeats=1, changes=SHORT)
    return {(row["composition"], row["setting"], row["part"]): row for row in found}


@pytest.mark.parametrize("composition", jobs.COMPOSITIONS)
def test_both_ways_compute_the_same(composition: str, rows: dict[tuple[str, str, str], dict[str, Any]]):
    assert rows[composition, "eager", "total"]["psnr_db"] > 45


@pytest.mark.parametrize("faster", FASTER)
def test_settings_that_change_the_result_are_run_for_evs_alone(
    faster: str, rows: dict[tuple[str, str, str], dict[str, Any]]
):
    assert [composition for composition, setting, part in rows if (setting, part) == (faster, "total")] == [jobs.EVS]
    assert rows[jobs.EVS, faster, "total"]["psnr_db"] < rows[jobs.EVS, "eager", "total"]["psnr_db"]


def test_operations_are_those_of_the_composition(rows: dict[tuple[str, str, str], dict[str, Any]]):
    def tflop(composition: str, part: str) -> float:
        row = rows[composition, "plain", part]
        return (row["tflops"] or 0) * row["seconds"]

    of = {composition: tflop(composition, "total") for composition in jobs.COMPOSITIONS}
    assert max(of["T2I"], of["T2V"]) < of[jobs.EVS] < of["T2I+T2V"]
    assert tflop("T2I", "t2i") == pytest.approx(tflop(jobs.EVS, "t2i")), "both run all of its steps"
    assert tflop("T2I", "t2v") == 0


def test_the_parts_make_the_whole(rows: dict[tuple[str, str, str], dict[str, Any]]):
    for way in ("plain", *WAYS):
        *parts, total = (rows[jobs.EVS, way, part]["seconds"] for part in jobs.PARTS)
        assert all(seconds > 0 for seconds in parts)
        assert total == pytest.approx(sum(parts))


def test_rates_are_shares_of_a_peak_that_is_told(rows: dict[tuple[str, str, str], dict[str, Any]]):
    total = rows[jobs.EVS, "plain", "total"]
    assert total["tflops"] == pytest.approx(total["share_of_peak"] * total["matrix_tflops"])


@pytest.mark.parametrize("able", [True, False])
def test_fp8_is_left_out_where_there_is_none(able: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(levers, "has_fp8", lambda _: able)
    known = levers.levers("tiny-decoder")
    assert any("t2i.fp8=true" in changes for changes in known.values()) == able
    assert "cache 3" in known


def test_levers_change_nothing_but_their_keys():
    made, known = levers.recipes("demo", ["t2i.guidance=2.0"], "tiny-decoder"), levers.levers("tiny-decoder")
    recipes = {name: recipe.model_dump() for name, recipe in made.items()}
    none = recipes.pop("none")
    assert recipes.keys() == known.keys()
    for name, recipe in recipes.items():
        changed = {key for key in none["t2i"] if recipe["t2i"][key] != none["t2i"][key]}
        assert changed == {setting.split("=")[0].split(".")[1] for setting in known[name]}


def test_an_unknown_job_is_refused_by_name(tmp_path: Path):
    done = CliRunner().invoke(app, ["bench", "device", "--folder", str(tmp_path), "--job", "VC3"])
    assert done.exit_code != 0
    assert "VC2" in str(done.exception or done.output)


def test_what_was_measured_is_shown_before_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def compare(*_: Any, **__: Any) -> Iterator[dict[str, Any]]:
        yield {"job": "VC2", "seconds": 1.25}
        raise torch.OutOfMemoryError

    monkeypatch.setattr(jobs, "compare", compare)
    command = ["bench", "device", "--folder", str(tmp_path), "--json", str(tmp_path / "device.json")]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, torch.OutOfMemoryError)
    assert json.loads((tmp_path / "device.json").read_text())["rows"] == [{"job": "VC2", "seconds": 1.25}]
