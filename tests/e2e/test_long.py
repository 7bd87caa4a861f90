"""Videos that are longer than memory, on a real Ray."""

import json
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from evs_batch.evaluate import psnr
from evs_batch.media.encode import encode
from evs_batch.scheduling.policy import Policy
from evs_batch.spec.recipe import Output, load_recipe
from evs_batch.spec.video import constant_rate
from evs_batch.stages.inline import enhance
from tests.conftest import ROOT, stripes
from tests.e2e.conftest import BIN, Head, environment, output_rows, wait_until
from tests.e2e.test_demo import frames_of
from tests.media.test_media import audio_packets, ffmpeg

pytestmark = [pytest.mark.ray, pytest.mark.slow]

WORKERS, CALLS, PARTS = 2, Policy.calls_in_flight, 30
PROMPT = "a red star on a blue background"


def two_shots(frames: int, cut: int) -> np.ndarray:
    """Soft stripes, and other ones in other colours from the cut on."""
    video = stripes(frames, 64, 64)
    video[cut:] = 255 - video[cut:, ::-1, ::-1]
    return video


def test_a_long_clip_is_what_it_is_in_one_piece(tmp_path: Path, evs_batch: Callable, make_manifest):
    frames = two_shots(80, 33)
    encode(tmp_path / "long.mp4", frames, constant_rate(80, 64, 64, Fraction(24)), Output(quality=4))
    manifest = make_manifest([{"id": "long", "uri": "long.mp4", "prompt": PROMPT}])
    settings = ["t2v.switch_at=[2]", "t2v.window=8", "t2v.overlap=4", "output.quality=4"]
    small = ["runtime.segment_frames=16", "runtime.memory_gb=0.01", "runtime.batch_frames=16"]
    overrides = [f"--set={setting}" for setting in (*settings, *small)]
    output = tmp_path / "out"
    evs_batch("run", manifest, "--recipe", "demo", "--output", output, *overrides)

    row = output_rows(output)[0]
    assert (row["status"], row["num_frames"]) == ("success", 80)
    source, result = frames_of(tmp_path / "long.mp4"), frames_of(Path(row["output_uri"]))
    whole = load_recipe("demo", [*settings, "runtime.segment_frames=1000"])
    expected = enhance(source, PROMPT, whole, clip_id="long")
    encode(tmp_path / "whole.mp4", expected, constant_rate(80, 64, 64, Fraction(24)), Output(quality=4))
    by_the_encoder = psnr(frames_of(tmp_path / "whole.mp4"), expected)
    assert psnr(result, expected) > by_the_encoder - 0.5, "there is no other difference"
    assert psnr(result, source) < 34, "the models have done something"
    assert not list((output / "_run" / "parts").iterdir())

    calls = json.loads((output / "_run" / "stats.json").read_text())["timeline"]
    assert {segment for call in calls for segment in call["segments"]} == set(range(5))
    given = [call["submit_s"] for call in calls if call["stage"] == "t2i_b"]
    ended = [call["end_s"] for call in calls if call["stage"] == "t2v"]
    assert len(given) == len(ended) == 5 > WORKERS * CALLS, "more than can be given at once"
    assert min(given) < max(ended), "T2I goes on with a segment before T2V has done the last"


def test_a_killed_run_of_a_long_clip_goes_on_where_it_was(
    tmp_path: Path, evs_batch, make_video, make_manifest, head: Head
):
    path = tmp_path / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=24", "-pix_fmt", "yuv420p", str(path))
    make_video("short.mp4")
    manifest = make_manifest([{"id": name, "uri": f"{name}.mp4", "prompt": "x"} for name in ("film", "short")])
    output, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    command = ["run", str(manifest), "--recipe", "identity", "--set", "runtime.segment_frames=20"]
    evs_batch(*command, "--output", undisturbed)
    process = subprocess.Popen(
        [str(BIN / "evs-batch"), *command, "--output", str(output), "--address", head.address],
        env=environment(), cwd=ROOT,
    )  # fmt: skip
    parts = output / "_run" / "parts"
    wait_until(lambda: len(list(parts.rglob("*.mp4"))) >= 3)
    process.kill()
    process.wait(30)
    processes = json.loads((output / "_run" / "stats.json").read_text())["processes"].values()
    wait_until(lambda: not any(Path(f"/proc/{worker['pid']}").exists() for worker in processes))  # they still publish
    there = {int(part.stem) for part in parts.rglob("0*.mp4")}
    (parts / "short").mkdir()
    (parts / "short" / "000000.mp4").touch()
    assert 3 <= len(there) < PARTS

    evs_batch(*command, "--output", output)
    timeline = json.loads((output / "_run" / "stats.json").read_text())["timeline"]
    for stage in ("decode", "encode"):
        calls = [call for call in timeline if call["stage"] == stage and call["clips"] == ["film"]]
        made = {number for call in calls for number in call["segments"]}
        assert len(made) < PARTS
        assert made >= set(range(PARTS)) - there
    first, second = ({row["id"]: row["output_sha256"] for row in output_rows(at)} for at in (undisturbed, output))
    assert first == second
    assert all(second.values())
    assert not list(parts.iterdir()), "nor what belongs to clips that need no parts"


def test_thousands_of_frames_keep_their_timestamps_and_sound(tmp_path: Path, evs_batch, make_manifest):
    path = tmp_path / "film.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=30000/1001:duration=80",
        "-f", "lavfi", "-i", "sine=frequency=440:duration=80", "-pix_fmt", "yuv420p", "-g", "250",
        "-c:a", "aac", str(path),
    )  # fmt: skip
    whole = path.read_bytes()
    broken = bytearray(whole)
    middle = len(broken) // 2
    broken[middle : middle + 20_000] = bytes(20_000)
    (tmp_path / "broken.mp4").write_bytes(broken)
    rows = [{"id": name, "uri": f"{name}.mp4", "prompt": "x"} for name in ("film", "broken")]
    output = tmp_path / "out"
    evs_batch(
        "run",
        make_manifest(rows),
        "--recipe",
        "identity",
        "--set",
        "runtime.memory_gb=0.02",
        "--output",
        output,
        code=3,
    )
    found = {row["id"]: row for row in output_rows(output)}
    assert (found["broken"]["error_type"], found["broken"]["error_stage"]) == ("MediaError", "decode")
    assert "cannot be decoded" in found["broken"]["error_message"]
    assert found["film"]["num_frames"] == len(frames_of(path)) > 2300
    assert not list((output / "_run" / "parts").iterdir()), "nothing is left of either"

    made = Path(found["film"]["output_uri"])
    assert audio_packets(made) == audio_packets(path)
    stamps = []
    for file in (path, made):
        with av.open(str(file)) as container:
            stamps.append(sorted(p.pts * p.time_base for p in container.demux(video=0) if p.size))
    assert stamps[0] == stamps[1]
    difference = np.abs(frames_of(made).astype(int) - frames_of(path))
    assert difference.mean() < 4
    assert difference.mean((1, 2, 3)).max() < 8, "no frame is at another's place"
