"""The plan of a run: what there is to do, and whether it can be done."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evs_batch import driver, planning
from evs_batch.cli.main import app
from evs_batch.planning import Asked, table, trial
from evs_batch.planning.survey import look
from evs_batch.spec.errors import ModelError, RunError
from evs_batch.spec.recipe import parse_recipe
from evs_batch.store import reading
from tests.conftest import ROOT

ENHANCE = parse_recipe({"t2i": {"model": "EP"}, "t2v": {"model": "lightningEP"}})
ELSEWHERE = Asked(gpus=16, costs="H200")


def row(video: Path | str, **cells: object) -> dict:
    return {"uri": str(video), "prompt": "a red star", **cells}


def test_a_plan_for_gpus_that_are_not_here(make_video, make_manifest):
    made = planning.plan(make_manifest([row(make_video(frames=6, rate=25))] * 50), ENHANCE, ELSEWHERE)
    assert made.survey.readable == 50
    assert (made.frames, made.video_s) == (300, pytest.approx(12.0))
    assert made.nodes == 2
    assert {name: pool.size for name, pool in made.placement.pools.items()} == {"media": 64, "model": 16}
    assert made.forecast is not None
    assert made.device_hours == pytest.approx(16 * made.forecast.seconds / 3600)
    assert made.why_not == ()


def test_rows_and_videos_that_are_no_good_are_counted(make_video, make_manifest, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    rows = [row("a.mp4", seed=-1), row(make_video()), row(tmp_path / "text.mp4"), row(tmp_path / "none.mp4")]
    manifest = reading.open_manifest(str(make_manifest(rows)), 0)
    survey = look(manifest, ENHANCE, limit=None, videos=10)
    assert (survey.rows, survey.good, survey.looked, survey.readable) == (4, 3, 3, 1)
    assert sorted(problem.partition(":")[0] for problem in survey.problems) == [
        "ManifestError", "MediaError", "MediaError"
    ]  # fmt: skip
    assert look(manifest, ENHANCE, limit=1, videos=10).rows == 1


def test_of_many_rows_some_videos_are_looked_at_from_the_first_to_the_last(make_video, make_manifest):
    short, long = make_video("short.mp4", frames=2), make_video("long.mp4", frames=6)
    rows = [row(short)] * 50 + [row(long)] * 50
    survey = look(reading.open_manifest(str(make_manifest(rows)), 0), ENHANCE, limit=None, videos=10)
    assert (survey.good, survey.looked, survey.readable) == (100, 10, 100)
    assert [facts.frames for _, facts in survey.found] == [2] * 5 + [6] * 5


def no_rows(make_video: Callable, tmp_path: Path) -> tuple:
    return [row("a.mp4", seed=-1)], ENHANCE, ELSEWHERE


def no_videos(make_video: Callable, tmp_path: Path) -> tuple:
    return [row(tmp_path / "none.mp4")], ENHANCE, ELSEWHERE


def no_memory(make_video: Callable, tmp_path: Path) -> tuple:
    tight = ENHANCE.model_copy(update={"runtime": ENHANCE.runtime.model_copy(update={"memory_gb": 1e-6})})
    return [row(make_video())], tight, ELSEWHERE


def no_room(make_video: Callable, tmp_path: Path) -> tuple:
    costs = table.of_device("H200", ENHANCE).as_dict() | {"bytes_per_pixel": 1e15}
    (tmp_path / "costs.json").write_text(json.dumps({"costs": costs}))
    asked = Asked(gpus=1, costs=str(tmp_path / "costs.json"), output=str(tmp_path / "not" / "there" / "yet"))
    return [row(make_video())], ENHANCE, asked


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (no_rows, "none of 1 rows is good"),
        (no_videos, "none of the 1 videos that were looked at can be read"),
        (no_memory, "1 of 1 videos that were looked at do not fit the memory of 0.0 GB"),
        (no_room, "the results take .* GB, and .*yet has room for"),
    ],
)
def test_what_would_not_go_well_is_said(case, reason, make_video, make_manifest, tmp_path):
    rows, recipe, asked = case(make_video, tmp_path)
    made = planning.plan(make_manifest(rows), recipe, asked)
    assert len(made.why_not) == 1
    assert re.search(reason, made.why_not[0])
    assert made.as_dict()["feasible"] is False


def test_models_that_are_missing_here_do_not_matter_elsewhere_but_their_names_do(make_video, make_manifest):
    manifest = make_manifest([row(make_video())])
    with pytest.raises(ModelError, match="did you mean"):
        planning.plan(manifest, parse_recipe({"t2i": {"model": "EPP"}}), ELSEWHERE)


def test_the_command_prints_the_plan_and_writes_it(make_video, make_manifest, tmp_path):
    manifest, file = str(make_manifest([row(make_video())] * 3)), tmp_path / "plan.json"
    arguments = ["plan", manifest, "-r", "enhance", "--gpus", "2", "--costs", "H200", "--json", str(file)]
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 0, ended.output
    for words in ("3 can be enhanced", "2 model; on 1 node", "t2i_a", "GPU hours", "feasible"):
        assert words in ended.output
    again = CliRunner().invoke(app, [*arguments[:-2], "--costs", str(file)])
    assert again.output.split("costs from")[0] == ended.output.split("costs from")[0]
    assert json.loads(file.read_text())["feasible"] is True


def test_the_command_says_why_not_with_its_exit_code(make_manifest, tmp_path):
    manifest = str(make_manifest([row(tmp_path / "none.mp4")]))
    ended = CliRunner().invoke(app, ["plan", manifest, "-r", "enhance", "--gpus", "2", "--costs", "H200"])
    assert ended.exit_code == 1
    assert "not feasible: none of the 1 videos" in ended.output


@pytest.mark.ray
@pytest.mark.slow
def test_a_short_run_tells_what_a_frame_costs_and_leaves_nothing_behind(make_video, make_manifest, tmp_path):
    (tmp_path / "scratch").mkdir()
    manifest = make_manifest([row(make_video(f"{n}.mp4", frames=n)) for n in (20, 2, 4)])
    asked = ["--rows", "2", "--scratch", str(tmp_path / "scratch"), "--json", str(tmp_path / "plan.json")]
    command = [sys.executable, "-m", "evs_batch", "plan", str(manifest), "--recipe", "identity", *asked]
    subprocess.run(command, check=True)  # Ray reads its settings once for a process
    made = json.loads((tmp_path / "plan.json").read_text())
    assert made["costs"]["of"] == "a short run of 2 rows on a CPU"
    assert set(made["costs"]["frame_s"]) == {"decode", "encode"}
    assert all(seconds > 0 for seconds in made["costs"]["frame_s"].values())
    assert made["forecast"]["seconds"] > made["costs"]["around_s"] > 0
    assert made["output_bytes"]
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.ray
@pytest.mark.slow
def test_a_short_run_of_models_tells_what_starting_takes_too(tmp_path):
    few = ["--limit", "2", "--rows", "2", "--set", "t2v.switch_at=[2]", "--set", "runtime.workers=1"]
    command = [sys.executable, "-m", "evs_batch", "plan", "demo", "--recipe", "demo", *few, "--json", "-"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    costs = json.loads(done.stdout)["costs"]
    assert set(costs["frame_s"]) == {"decode", "t2i_a", "t2v", "t2i_b", "encode"}
    assert all(seconds > 0 for seconds in costs["frame_s"].values())
    assert costs["worker_bytes"] > 10**8
    assert sum(costs["start_s"].values()) > 1


def test_a_short_run_on_a_cluster_needs_a_folder_for_all(make_video, make_manifest):
    with pytest.raises(RunError, match="needs a folder that all nodes reach; name one with --scratch"):
        trial.run(ENHANCE, [], driver.Options(address="10.0.0.1:6379"), None, "CPU")


def test_costs_of_another_recipe_are_told_apart(make_video, make_manifest, tmp_path):
    manifest, alone = make_manifest([row(make_video())]), ENHANCE.model_copy(update={"composition": "T2I"})
    (tmp_path / "one.json").write_text(json.dumps({"costs": table.of_device("H200", alone).as_dict()}))
    with pytest.raises(RunError, match="has no costs of t2v, t2i_b; measure this recipe"):
        planning.plan(manifest, ENHANCE, Asked(gpus=1, costs=str(tmp_path / "one.json")))
    known = {**table.of_device("H200", ENHANCE).as_dict(), "recipe": "of another"}
    (tmp_path / "two.json").write_text(json.dumps({"costs": known}))
    made = planning.plan(manifest, ENHANCE, Asked(gpus=1, costs=str(tmp_path / "two.json")))
    assert made.costs is not None
    assert made.costs.of.endswith("WITH ANOTHER RECIPE")


def test_names_of_files_are_no_markup_and_equal_causes_are_one(make_manifest, tmp_path):
    manifest = str(make_manifest([row(tmp_path / f"[red]x[/b]{n}.mp4") for n in range(3)]))
    ended = CliRunner().invoke(app, ["plan", manifest, "-r", "enhance", "--gpus", "2", "--costs", "H200"])
    assert ended.exit_code == 1, ended.output
    assert "3 MediaError: cannot be opened" in ended.output
