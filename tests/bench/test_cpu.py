"""The demo's models against the plain script, with few steps."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evs_batch.bench import cpu
from evs_batch.cli.main import app

SHORT = ["t2i.steps=10", "t2v.switch_at=[1]", "runtime.compile=off"]


def test_all_ways_make_the_same_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cpu, "COMPILED", ())
    file, changes = tmp_path / "cpu.json", [f"--set={change}" for change in SHORT]
    done = CliRunner().invoke(
        app, ["bench", "cpu", *changes, "--clips=2", "--repeats=1", "--cores=2", f"--json={file}"]
    )
    assert done.exit_code == 0, done.output
    written = json.loads(file.read_text())
    script, *ours = written["rows"]
    assert (script["setting"], script["speedup"]) == (cpu.PLAIN, 1.0)
    assert [row["setting"] for row in ours] == [*cpu.settings(2, 4, 2)]
    assert min(row["psnr_db"] for row in ours) > 40
    assert written["speedup"] == max(row["speedup"] for row in written["rows"])
    assert re.search(rf"{cpu.PLAIN} *│ [\d.]+ *│ [\d.]+ *│ 1\.000", done.output)


def test_calls_hold_all_clips_in_their_order():
    samples = [cpu.sample(seed) for seed in range(5)]
    calls = cpu._calls(samples, 2)
    assert [[clip.id for clip in clips] for _, clips in calls] == [["0", "1"], ["2", "3"], ["4"]]
    assert all(
        (video == samples[int(clip.id)].degraded).all() for call in calls for video, clip in zip(*call, strict=True)
    )


@pytest.mark.parametrize(("cores", "clips", "size"), [(2, 16, 4), (8, 16, 2), (32, 16, 1)])
def test_every_core_has_a_call(cores: int, clips: int, size: int):
    chosen = cpu.settings(cores, 4, clips)["a process for each core"]
    assert (chosen.processes, chosen.clips_per_call) == (cores, size)
