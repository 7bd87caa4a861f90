"""The main job on the demo's videos, on a real Ray, as a user runs it."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from evs_batch.evaluate import flicker_error, psnr
from evs_batch.media.decode import decode
from evs_batch.media.probe import probe
from evs_batch.spec.manifest import OUTPUT_COLUMNS
from evs_batch.tiny import clips
from tests.conftest import ROOT
from tests.e2e.conftest import BIN, Head, environment, output_rows
from tests.report.browser import browser, opened, until

__all__ = ["browser", "opened"]
pytestmark = [pytest.mark.ray, pytest.mark.slow]
MODELS = ("t2i", "t2v")
DEMO = ROOT / "manifests" / "demo.parquet"
JOB = ("run", DEMO, "--recipe", "demo", "--set", "t2v.switch_at=[2]", "--limit", "3")  # one block, not three


@pytest.fixture(scope="module")
def demo(head, tmp_path_factory) -> Path:
    """The demo job, run once."""
    output = tmp_path_factory.mktemp("demo")
    command = [BIN / "evs-batch", *JOB, "--output", output]
    subprocess.run([*command, "--address", head.address], check=True, env=environment(), timeout=280, cwd=ROOT)
    return output


def frames_of(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        facts = probe(file)
        file.seek(0)
        return decode(file, facts)


def test_every_row_comes_out_once_with_all_columns(demo: Path):
    rows = {row["id"]: row for row in output_rows(demo)}
    sources = {row["id"]: row for row in pq.read_table(DEMO).to_pylist()[:3]}
    assert sorted(rows) == sorted(sources)
    assert len(output_rows(demo)) == len(sources) == 3
    for name, row in rows.items():
        assert set(row) == set(sources[name]) | set(OUTPUT_COLUMNS)
        assert (row["status"], row["attempts"], row["error_type"]) == ("success", 1, None)
        given = {**sources[name], "uri": str(DEMO.parent / sources[name]["uri"])}
        assert {key: row[key] for key in given} == given, "input columns pass through, paths become absolute"
        data = Path(row["output_uri"]).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (row["output_sha256"], row["output_bytes"])
        assert row["t2i_seconds"] > 0
        assert row["t2v_seconds"] > 0


def test_the_videos_are_nearer_to_the_clean_clips_than_their_sources(demo: Path):
    gains, flicker = [], []
    for row in output_rows(demo):
        source, result = frames_of(Path(row["uri"])), frames_of(Path(row["output_uri"]))
        clean = clips.render(clips.scene(row["scene_seed"]), len(source))
        assert result.shape == source.shape
        gains.append(psnr(result, clean) - psnr(source, clean))
        flicker.append(flicker_error(result, clean) / flicker_error(source, clean))
    assert min(gains) > 0.8, gains
    assert np.mean(gains) > 1.5, gains
    assert max(flicker) < 0.8, flicker


def test_its_report_plays_in_a_browser(demo: Path, opened: Callable[..., Any]):
    page = opened(demo)
    assert page.locator("#count").inner_text() == "3 rows"
    page.get_by_role("button", name="Play").click()
    until(page, "document.getElementById('time').value > 0.1")
    until(page, "document.getElementById('sheet').naturalWidth > 100")
    assert "frames" in page.locator("#stages").inner_text()
    recipe = page.locator("#recipe").inner_text()
    assert '"torch": "' in recipe
    assert "# workers: {" in recipe


def test_timestamps_and_sound_are_the_sources(demo: Path):
    for row in output_rows(demo):
        with (Path(row["uri"])).open("rb") as a, Path(row["output_uri"]).open("rb") as b:
            source, result = probe(a), probe(b)
        assert [pts * source.time_base for pts in source.pts] == [pts * result.time_base for pts in result.pts]
    tracks = []
    for path in (ROOT / "manifests/clips/with_sound.mp4", demo / "videos/with_sound.mp4"):
        with av.open(str(path)) as container:
            tracks.append([bytes(packet) for packet in container.demux(audio=0) if packet.size])
    assert tracks[0] == tracks[1] != []


def test_models_and_videos_have_processes_of_their_own_and_every_clip_passes_every_stage_once(demo: Path):
    """That models work at once whatever the machine is busy with, see tests/e2e/test_memory.py."""
    stats = json.loads((demo / "_run" / "stats.json").read_text())
    assert len({process["pid"] for process in stats["processes"].values()}) == 3
    held = {name: set(process["held"]) for name, process in stats["processes"].items()}
    assert held.pop("media-0") == {"media"}
    assert set.union(*held.values()) == set(MODELS)
    assert all(call["stage"][:3] in held[call["worker"]] for call in stats["timeline"] if call["stage"][:3] in MODELS)
    names = sorted(row["id"] for row in output_rows(demo))
    for stage in ("probe", "decode", "t2i_a", "t2v", "t2i_b", "encode"):
        calls = [call for call in stats["timeline"] if call["stage"] == stage]
        assert sorted(name for call in calls for name in call["clips"]) == names


def test_the_same_command_again_skips_what_is_done(demo: Path, evs_batch: Callable):
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*.mp4")}
    done = evs_batch(*JOB, "--output", demo)
    assert "3 of them from an earlier run" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*.mp4")} == before
    assert len(output_rows(demo)) == 3


def test_another_recipe_is_refused_with_a_diff(demo: Path, evs_batch: Callable):
    done = evs_batch(*JOB, "--set", "seed=24", "--output", demo, code=2)
    assert "recipe.seed: 23 -> 24" in done.stderr


def test_a_submitted_job_with_other_pools_and_batches_makes_the_same_bytes(demo: Path, head: Head, tmp_path: Path):
    others = ["--t2i-workers", "1", "--set", "runtime.batch_frames=16"]
    done = subprocess.run(
        [str(ROOT / "cluster" / "submit.sh"), head.dashboard, *JOB[1:-1], "1", *others, "--output", tmp_path],
        capture_output=True, text=True, env=environment(), timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout
    assert "1 of 1 rows done" in done.stdout
    (row,) = output_rows(tmp_path)
    assert (row["id"], row["status"]) == ("short", "success")
    assert Path(row["output_uri"]).stat().st_size == row["output_bytes"]
    digests = {row["id"]: row["output_sha256"] for row in output_rows(demo)}
    assert row["output_sha256"] == digests["short"]


def test_status_says_how_it_went(demo: Path, evs_batch: Callable):
    assert "done; 3 of 6 rows committed: 3 success, 0 failed" in evs_batch("status", demo).stdout
