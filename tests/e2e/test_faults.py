"""What a job meets: bad rows, signals, killed workers."""

import json
import os
import re
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import BIN, Head, environment, output_rows, wait_until
from tests.servers import web_server

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_bad_rows_fail_by_name_and_the_rest_succeeds(tmp_path: Path, evs_batch, make_video, make_manifest):
    make_video("good.mp4")
    (tmp_path / "text.mp4").write_text("I am a text file\n" * 100)
    rows = [
        {"id": "good", "uri": "good.mp4", "prompt": "stripes", "note": "kept"},
        {"id": "text", "uri": "text.mp4", "prompt": "stripes", "note": None},
        {"id": "missing", "uri": "nowhere.mp4", "prompt": "stripes", "note": "kept"},
        {"id": "no_prompt", "uri": "good.mp4", "prompt": None, "note": "kept"},
        {"id": "also_good", "uri": "good.mp4", "prompt": "stripes", "note": "kept"},
    ]
    manifest, output = make_manifest(rows), tmp_path / "out"
    command = ("run", manifest, "--recipe", "identity", "--output", output)
    done = evs_batch(*command, code=3)
    found = {row["id"]: row for row in output_rows(output)}
    assert {name: row["status"] for name, row in found.items()} == {
        "good": "success", "also_good": "success", "text": "failed", "missing": "failed", "no_prompt": "failed",
    }  # fmt: skip
    causes = {name: (row["error_type"], row["error_stage"]) for name, row in found.items() if row["status"] == "failed"}
    assert causes == {
        "text": ("MediaError", "probe"), "missing": ("MediaError", "probe"), "no_prompt": ("ManifestError", "manifest"),
    }  # fmt: skip
    assert "is not a video" in found["text"]["error_message"]
    assert "nowhere.mp4" in found["missing"]["error_message"]
    assert found["missing"]["note"] == "kept"
    assert "3 failed" in done.stderr

    status = evs_batch("status", output).stdout
    assert "2  MediaError" in status

    make_video("nowhere.mp4")
    evs_batch(*command, "--retry-failed", "--max-failed-fraction", "0.5")
    again = Counter(row["id"] for row in output_rows(output))
    assert again == Counter(list(found)), "one row per input row, still"
    assert {row["id"]: row["status"] for row in output_rows(output)}["missing"] == "success"

    (tmp_path / "text.mp4").write_bytes((tmp_path / "good.mp4").read_bytes())
    evs_batch("run", output / "manifest", "--recipe", "identity", "--output", tmp_path / "again", code=3)
    third = {row["id"]: row for row in output_rows(tmp_path / "again")}
    assert [third[name]["status"] for name in ("good", "text", "no_prompt")] == ["success", "success", "failed"]
    assert third["text"]["error_type"] is None, "an output manifest is an input manifest; old results are not kept"


def test_a_signal_commits_what_is_finished_and_the_same_command_resumes(
    tmp_path: Path, head: Head, evs_batch: Callable, make_video, make_manifest
):
    """The videos come from a slow server until there has been either signal."""
    make_video("a.mp4")
    output, clips, hurry = tmp_path / "out", 24, threading.Event()
    with web_server(tmp_path, lambda: hurry.wait(0.5)) as web:
        manifest = make_manifest([{"id": f"clip{n}", "uri": f"{web}/a.mp4", "prompt": "x"} for n in range(clips)])
        command = ["run", str(manifest), "--recipe", "identity", "--output", str(output)]
        there = 0
        for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            process = subprocess.Popen(
                [str(BIN / "evs-batch"), *command, "--address", head.address], env=environment(), cwd=ROOT
            )
            wait_until(lambda: len(list((output / "videos").glob("*.mp4"))) >= there + 3)  # noqa: B023
            process.send_signal(number)
            assert process.wait(120) == code
            done = [row["id"] for row in output_rows(output)]
            assert there + 3 <= len(done) < clips
            published = sorted(path.stem for path in (output / "videos").iterdir())
            assert sorted(done) == published, "what is published is committed"
            assert json.loads((output / "_run" / "stats.json").read_text())["state"] == "interrupted"
            there = len(done)
        hurry.set()
        evs_batch(*command)
    assert Counter(row["id"] for row in output_rows(output)) == Counter(f"clip{n}" for n in range(clips))


def test_a_killed_worker_costs_nobody_their_video(tmp_path: Path, head: Head, make_video, make_manifest):
    """The videos come from a slow server until it is killed."""
    make_video("a.mp4", frames=2)
    stats, hurry = tmp_path / "out" / "_run" / "stats.json", threading.Event()

    def models() -> dict[str, int]:
        processes = json.loads(stats.read_text())["processes"] if stats.exists() else {}
        return {name: process["pid"] for name, process in processes.items() if process["role"] != "media"}

    with web_server(tmp_path, lambda: hurry.wait(2)) as web:
        manifest = make_manifest([{"id": f"clip{n}", "uri": f"{web}/a.mp4", "prompt": "x"} for n in range(40)])
        light = [f"--set={key}" for key in ("composition=T2I", "runtime.workers=1", "runtime.frames_per_forward=2")]
        command = ["run", str(manifest), "--recipe", "demo", *light, "--output", str(tmp_path / "out")]
        process = subprocess.Popen(
            [str(BIN / "evs-batch"), *command, "--address", head.address], env=environment(), cwd=ROOT
        )
        wait_until(lambda: len(models()) == 1)
        (pid,) = models().values()
        os.kill(pid, signal.SIGKILL)
        hurry.set()
        assert process.wait(200) == 0
    rows = output_rows(tmp_path / "out")
    assert Counter(row["status"] for row in rows) == {"success": 40}
    assert len({row["id"] for row in rows}) == 40
    assert len(models()) == 2, "a fresh worker took over"


def test_shards_divide_a_manifest_and_share_a_folder(tmp_path: Path, evs_batch, make_video, make_manifest):
    make_video("a.mp4")
    manifest = make_manifest([{"id": f"clip{n}", "uri": "a.mp4", "prompt": "stripes"} for n in range(5)])
    lossless = ("--set", "output.codec=ffv1", "--set", "output.container=mkv")
    command = ("run", manifest, "--recipe", "identity", *lossless, "--output", tmp_path / "out")
    evs_batch(*command, "--shard", "2/2")
    assert sorted(row["id"] for row in output_rows(tmp_path / "out")) == ["clip1", "clip3"]
    evs_batch(*command, "--shard", "1/2")
    assert sorted(row["id"] for row in output_rows(tmp_path / "out")) == [f"clip{n}" for n in range(5)]
    said = evs_batch("status", tmp_path / "out").stdout
    assert "5 of 5 rows committed" in said
    assert "without a row" not in said
    assert {Path(row["output_uri"]).name for row in output_rows(tmp_path / "out")} == {f"clip{n}.mkv" for n in range(5)}


def test_no_source_is_overwritten_by_its_result(tmp_path: Path, evs_batch, make_video, make_manifest):
    (tmp_path / "videos").mkdir()
    source = make_video("videos/a.mp4")
    before = source.read_bytes()
    manifest = make_manifest([{"id": "a", "uri": "videos/a.mp4", "prompt": "x"}])
    evs_batch("run", manifest, "--recipe", "identity", "--output", tmp_path, code=3)
    assert source.read_bytes() == before
    assert "is where the result would go" in output_rows(tmp_path)[0]["error_message"]


def test_workers_that_cannot_start_end_the_run_with_the_cause(tmp_path: Path, evs_batch):
    demo = ROOT / "manifests" / "demo.parquet"
    wrong = ("--set", "t2v.steps=61", "--set", "runtime.workers=1")
    done = evs_batch("run", demo, "--recipe", "demo", *wrong, "--output", tmp_path / "out", "--limit", "1", code=1)
    assert "t2v workers cannot start" in done.stderr
    assert "steps=61: this schedule cannot be divided so; choose a divisor of 1000" in done.stderr
    assert not output_rows(tmp_path / "out")


def test_workers_that_cannot_be_placed_are_named(tmp_path: Path, evs_batch):
    labels = ("--set", "runtime.labels=['zone=moon']", "--set", "runtime.stall_s=20")
    demo = ROOT / "manifests" / "demo.parquet"
    done = evs_batch("run", demo, "--recipe", "demo", *labels, "--output", tmp_path / "out", "--limit", "1", code=1)
    before, after = re.split(r"nothing has happened for \d+ s", done.stderr, maxsplit=1)
    said = "none of 1 nodes has the labels zone=moon"
    assert said in before, "long before the end"
    assert said in after, "and with it"
