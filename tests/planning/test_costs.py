"""What a frame costs: from a run's record, from a file, from the table."""

import json

import pytest

from evs_batch.bench.device.jobs import settings_in
from evs_batch.planning import costs, table
from evs_batch.planning.costs import Costs
from evs_batch.spec.codecs import CODECS, PRESETS
from evs_batch.spec.errors import RunError
from evs_batch.spec.recipe import parse_recipe
from evs_batch.store.recipes import load_recipe
from tests.conftest import ROOT

T2I = parse_recipe({"composition": "T2I"})


def call(stage: str, worker: str, start_s: float, end_s: float, frames: int = 10) -> dict:
    return {"stage": stage, "worker": worker, "start_s": start_s, "end_s": end_s, "frames": frames, "clips": ["a"]}


def record(*timeline: dict) -> dict:
    loads = [
        {"worker": "media-0", "role": "media", "start_s": 0.9, "end_s": 1.0},
        {"worker": "t2i-0", "role": "t2i", "start_s": 4.0, "end_s": 5.0},
    ]
    process = {"role": "t2i", "memory_bytes": 7}
    return {"timeline": timeline, "loads": loads, "processes": {"t2i-0": process}}


RUN = record(
    call("probe", "media-0", 1.0, 1.1), call("decode", "media-0", 1.1, 1.3),
    call("t2i_a", "t2i-0", 5.0, 8.0), call("t2i_a", "t2i-0", 8.0, 9.0), call("t2i_a", "t2i-0", 9.0, 10.0),
    call("encode", "media-0", 10.0, 10.5),
)  # fmt: skip


def test_later_calls_tell_what_a_frame_costs_and_the_first_ones_what_a_start_does():
    known = costs.of_run(RUN, T2I, {"a": 10}, pixels=100.0, output_bytes=500, elapsed_s=12.0)
    assert known.frame_s == pytest.approx({"decode": 0.02, "t2i_a": 1 / 16, "encode": 0.05})
    assert known.clip_s == pytest.approx({"probe": 0.1})
    assert known.start_s == pytest.approx({"media": 1.0, "t2i": 5.0 + 2.0})
    assert known.load_s == pytest.approx({"media": 0.1, "t2i": 1.0 + 2.0})
    assert known.around_s == pytest.approx(1.5)
    assert known.bytes_per_pixel == pytest.approx(0.5)
    assert known.worker_bytes == 7


def test_what_models_compute_beyond_a_clips_frames_counts():
    recipe = parse_recipe({"composition": "T2V", "t2v": {"window": 16, "overlap": 8}})
    assert [costs.computed(recipe, "t2v", frames) * frames for frames in (8, 16, 17, 24, 32)] == [16, 16, 32, 32, 48]
    assert costs.computed(recipe, "t2i", 17) == 1
    two = {**call("t2v", "t2v-0", 0.0, 1.0, frames=40), "clips": ["a", "b"]}
    loads = [{"worker": "t2v-0", "role": "t2v", "start_s": 0.0, "end_s": 0.0}]
    run = {**record(*RUN["timeline"], two), "loads": loads}
    known = costs.of_run(run, recipe, {"a": 24, "b": 16}, pixels=1.0, output_bytes=1, elapsed_s=12.0)
    assert known.frame_s["t2v"] == pytest.approx(1 / (32 + 16))


def test_larger_frames_cost_attention_more_than_the_rest():
    known = Costs(of="", pixels=100, frame_s={}, quadratic=0.25)
    assert known.relative("t2i", 200) == pytest.approx(0.75 * 2 + 0.25 * 4)
    assert known.relative("media", 200) == 2


def test_costs_are_read_as_they_were_written(tmp_path):
    known = costs.of_run(RUN, T2I, {"a": 10}, pixels=100.0, output_bytes=500, elapsed_s=12.0, of="a run")
    (tmp_path / "plan.json").write_text(json.dumps({"costs": known.as_dict(), "other": 1}))
    assert costs.read(tmp_path / "plan.json") == known


@pytest.mark.parametrize("text", ["", "{}", '{"costs": null}', '{"costs": {"pixels": "many"}}'])
def test_a_file_without_costs_is_named(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(RunError, match=r"plan\.json: holds no costs"):
        costs.read(tmp_path / "plan.json")


def test_the_table_says_what_the_device_was_measured_to_take():
    rows = json.loads((ROOT / "bench" / "device.json").read_text())["rows"]
    measured_s = {row["setting"]: row["seconds"] for row in rows if row["part"] == "total"}
    for setting in ("eager", "compiled", "cache 2", "cache 3", "guidance in half"):
        known = table.of_device("H200", load_recipe("enhance", settings_in(ROOT)[setting]))
        models_s = 16 * sum(known.frame_s[stage] for stage in ("t2i_a", "t2v", "t2i_b"))
        assert models_s == pytest.approx(measured_s[setting], rel=0.04), setting


def test_inversions_guidance_and_windows_cost_what_they_evaluate():
    def seconds(*changes: str) -> dict:
        return table.of_device("H200", load_recipe("enhance", changes)).frame_s

    usual = seconds()
    assert seconds("t2i.entry=ddim")["t2i_a"] - usual["t2i_a"] == pytest.approx(20 * table.DEVICES["H200"]["unet_s"])
    assert seconds("t2i.guidance=1.0")["t2i_b"] < 0.7 * usual["t2i_b"]
    assert seconds("t2v.guidance=2.0")["t2v"] == pytest.approx(2 * usual["t2v"])


@pytest.mark.parametrize(("codec", "preset"), [(codec, preset) for codec in CODECS for preset in PRESETS])
def test_the_measured_media_speeds_are_used(codec, preset):
    output = {"codec": codec, "preset": preset, "container": CODECS[codec].containers[0]}
    known = table.of_device("H200", parse_recipe({"composition": "identity", "output": output}))
    rows = json.loads((ROOT / "bench" / "media.json").read_text())["rows"]
    speeds = {row["preset"]: row["frames_per_s"] for row in rows if (row["part"], row["codec"]) == ("encode", codec)
              and row["system"] == "evs-batch"}  # fmt: skip
    verify = next(row["frames_per_s"] for row in rows if row["part"] == "verify")
    assert known.frame_s["encode"] == pytest.approx(1 / speeds.get(preset, speeds["balanced"]) + 1 / verify)
    assert set(known.frame_s) == {"decode", "encode", "join"}


def test_what_nobody_measured_is_not_guessed():
    with pytest.raises(RunError, match="H20: neither a file nor a measured device; did you mean 'H200'"):
        table.of_device("H20", T2I)
    with pytest.raises(RunError, match="models of the family tiny: were never measured on H200"):
        table.of_device("H200", T2I)
