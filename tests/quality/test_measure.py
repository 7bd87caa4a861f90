import sys
from pathlib import Path
from typing import Any

import pytest

from evs_batch.quality import measure as measuring
from evs_batch.quality.choice import Choice
from evs_batch.quality.measure import Task, measure
from evs_batch.spec.errors import ModelError
from tests.conftest import stripes
from tests.quality.builders import write_clip, write_video

CLEAN = Choice(reference="clean")


def task(folder: Path, row: dict[str, Any], **changed: Any) -> Task:
    known = {"id": row["id"], "output_uri": row["output_uri"], "output_sha256": row["output_sha256"]}
    uris = {"source_uri": row["uri"], "reference_uri": str(folder / "in" / row["clean"])}
    return Task(**{**known, **uris, **changed})


def test_a_row_has_all_metrics_of_the_result_and_of_its_source(tmp_path: Path):
    row = measure(task(tmp_path, write_clip(tmp_path, "a")), CLEAN)
    assert row["error"] is None
    assert row["id"] == "a"
    assert row["psnr_db"] > row["source_psnr_db"] + 5
    assert row["ssim"] > row["source_ssim"]
    assert row["flicker_error"] < row["source_flicker_error"]
    assert row["sharpness"] < row["source_sharpness"], "noise is sharp"
    assert row["warping_error"] < row["source_warping_error"]


def test_without_a_clean_video_there_are_the_free_metrics(tmp_path: Path):
    row = measure(task(tmp_path, write_clip(tmp_path, "a"), reference_uri=None), CLEAN)
    assert row["error"] is None
    assert "psnr_db" not in row
    assert row["sharpness"] > 0


def test_a_damaged_result_leaves_what_can_be_said_of_its_source(tmp_path: Path):
    clip = write_clip(tmp_path, "a")
    Path(clip["output_uri"]).write_bytes(b"no video")
    row = measure(task(tmp_path, clip), CLEAN)
    assert row["error"].startswith(f"result {clip['output_uri']}: ")
    assert "psnr_db" not in row
    assert row["source_psnr_db"] > 10


def test_a_clean_video_of_another_size_than_the_result_is_an_error_that_names_both(tmp_path: Path):
    clip = write_clip(tmp_path, "a")
    other = write_video(tmp_path / "other.mp4", stripes(3, 64, 96))
    row = measure(task(tmp_path, clip, reference_uri=str(other)), CLEAN)
    assert row["error"] == "result: 3 frames of 48x32 pixels against 3 frames of 96x64 pixels: must be the same"
    assert row["sharpness"] > 0


def test_a_source_smaller_than_its_result_is_no_mistake(tmp_path: Path):
    clip = write_clip(tmp_path, "a")
    small = write_video(tmp_path / "small.mp4", stripes(3, 16, 24))
    row = measure(task(tmp_path, clip, source_uri=str(small)), CLEAN)
    assert row["error"] is None
    assert row["psnr_db"] > 20
    assert "source_psnr_db" not in row
    assert row["warping_error"] > 0


def test_a_single_frame_has_no_temporal_metrics(tmp_path: Path):
    row = measure(task(tmp_path, write_clip(tmp_path, "a", frames=1)), CLEAN)
    assert row["error"] is None
    assert row["psnr_db"] > 20
    assert row["flicker_error"] is None
    assert row["warping_error"] is None


def test_without_opencv_only_the_warping_error_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    row = measure(task(tmp_path, write_clip(tmp_path, "a")), CLEAN)
    assert row["warping_error"] is None
    assert row["error"] is None


def test_a_learned_metric_that_cannot_say_costs_its_own_value_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(video: Any) -> float:
        raise RuntimeError("too short")

    metrics = {"dover": refuse, "aesthetic": lambda _: 5.0}
    monkeypatch.setattr(measuring, "_learned", lambda name, _: metrics[name])
    choice = Choice(weights=tmp_path, learned=("dover", "aesthetic"))
    row = measure(task(tmp_path, write_clip(tmp_path, "a")), choice)
    assert row["error"] == "result: too short; source: too short"
    assert (row["aesthetic"], row["source_aesthetic"]) == (5.0, 5.0)


def test_a_model_that_cannot_be_loaded_is_wrong_for_all_rows(tmp_path: Path):
    with pytest.raises(ModelError, match="cannot be loaded"):
        measure(task(tmp_path, write_clip(tmp_path, "a")), Choice(features=tmp_path / "nothing"))


def test_control_characters_of_a_manifest_do_not_reach_the_table(tmp_path: Path):
    row = measure(task(tmp_path, write_clip(tmp_path, "a"), source_uri="in/\x1b[2J.mp4"), CLEAN)
    assert "\x1b" not in row["error"]
    assert r"\x1b[2J" in row["error"]
