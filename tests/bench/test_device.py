"""The paper's jobs with a few channels, on whatever device is here."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evs_batch.bench.device import jobs
from evs_batch.cli.main import app

SHORT = [
    "t2i.steps=5",
    "t2v.switch_at=[1]",
    "t2v.window=4",
    "t2v.overlap=2",
    "runtime.frames_per_forward=4",
    "runtime.precision=fp32",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found = jobs.compare(folder, "small", {"VC2": (64, 64)}, frames=4, repeats=1, changes=SHORT)
    return {(row["composition"], row["way"]): row for row in found}


@pytest.mark.parametrize("composition", jobs.COMPOSITIONS)
def test_both_ways_compute_the_same(composition: str, rows: dict[tuple[str, str], dict[str, Any]]):
    assert rows[composition, "evs-batch"]["psnr_db"] > 45


def test_operations_are_those_of_the_composition(rows: dict[tuple[str, str], dict[str, Any]]):
    of = {composition: rows[composition, "diffusers"]["tflop"] for composition in jobs.COMPOSITIONS}
    assert max(of["T2I"], of["T2V"]) < of[jobs.EVS] < of["T2I+T2V"]
    assert rows["T2I", "evs-batch"]["tflop"] == of["T2I"]


def test_the_parts_make_the_whole(folder: Path, rows: object):
    parts = jobs.parts(folder, (64, 64), frames=4, changes=SHORT)
    assert parts.keys() == {"encode", "t2i", "t2v", "decode", "between", "total"}
    assert parts["total"] == pytest.approx(sum(parts.values()) - parts["total"])
    assert all(seconds > 0 for seconds in parts.values())


def test_an_unknown_job_is_refused_by_name(tmp_path: Path):
    done = CliRunner().invoke(app, ["bench", "device", "--folder", str(tmp_path), "--job", "VC3"])
    assert done.exit_code != 0
    assert "VC2" in str(done.exception or done.output)
