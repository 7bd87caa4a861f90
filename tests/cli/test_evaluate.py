"""`evs-batch evaluate` on folders as runs leave them, with real worker processes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evs_batch.cli import main
from tests.conftest import stripes
from tests.quality.builders import FAILED_ROW, write_clip, write_run, write_video

METRICS = Path("quality") / "metrics.parquet"


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., Said]:
    """The command, in this process."""

    def run(*arguments: str | Path) -> Said:
        monkeypatch.setattr("sys.argv", ["evs-batch", "evaluate", *map(str, arguments), "--workers", "1"])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return Said(end.value.code or 0, captured.out, captured.err)

    return run


def test_a_run_is_measured_against_its_sources_and_clean_videos(evaluate, tmp_path: Path):
    output = write_run(tmp_path, [write_clip(tmp_path, "b"), FAILED_ROW, write_clip(tmp_path, "a", frames=1)])
    figures = tmp_path / "figures.json"
    said = evaluate(output, "--reference", "clean", "--json", figures)
    assert said.code == 0
    assert "2 rows measured, 0 with errors" in said.err
    assert f"metrics   {output}/quality/metrics.parquet" in said.out
    rows = pq.read_table(Path(output) / METRICS)
    assert rows["id"].to_pylist() == ["b", "z", "a"]
    assert rows["psnr_db"].null_count == 1, "the failed row"
    assert rows["warping_error"].null_count == 2, "and the single frame"
    lines = {line["metric"]: line for line in json.loads(figures.read_text())["rows"]}
    assert list(lines) == ["psnr_db", "ssim", "acutance", "flicker_error", "sharpness", "warping_error"]
    assert all(name in said.out for name in lines)
    psnr = lines["psnr_db"]
    assert psnr["rows"] == 2
    assert 5 < psnr["low"] <= psnr["difference"] <= psnr["high"]


def test_the_same_command_again_measures_what_is_new_or_went_wrong(evaluate, tmp_path: Path):
    good, broken = write_clip(tmp_path, "a"), write_clip(tmp_path, "b")
    result = Path(broken["output_uri"])
    whole = result.read_bytes()
    result.write_bytes(b"no video")
    output = write_run(tmp_path, [good, broken])
    said = evaluate(output)
    assert said.code == 3, "half of the rows is more than a tenth"
    assert "2 rows measured, 1 with errors" in said.err
    assert f"for example result {result}" in said.err

    before = pq.read_table(Path(output) / METRICS)["sharpness"].to_pylist()
    write_video(Path(good["output_uri"]), stripes(3, 32, 48))
    result.write_bytes(whole)
    said = evaluate(output)
    assert said.code == 0
    assert "2 rows measured, 1 of them earlier, 0 with errors" in said.err
    after = pq.read_table(Path(output) / METRICS)["sharpness"].to_pylist()
    assert after[0] == before[0], "the manifest says that this result is the same"
    assert after[1] is not None


def test_a_model_folder_gives_subject_consistency(evaluate, tmp_path: Path):
    import torch

    from tests.evaluate.test_features import dinov2, saved

    torch.manual_seed(0)
    output = write_run(tmp_path, [write_clip(tmp_path, "a")])
    said = evaluate(output, "--features", saved(dinov2(), tmp_path / "model"))
    assert said.code == 0
    assert "subject_consistency" in said.out


def test_without_opencv_one_line_names_the_way_to_get_it(
    evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("evs_batch.quality.job.has_opencv", lambda: False)
    output = write_run(tmp_path, [FAILED_ROW])
    assert evaluate(output).code == 0
    assert caplog.text.count("pip install 'evs-batch[evaluate]'") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--reference", "clen"], "did you mean 'clean'?"),
        (["--features", "nowhere"], "is no model folder of transformers"),
        (["--weights", "nowhere"], "holds no weights that are known"),
    ],
)
def test_mistakes_cost_nothing_and_are_explained(evaluate, arguments: list[str], said: str, tmp_path: Path):
    output = write_run(tmp_path, [FAILED_ROW])
    found = evaluate(output, *arguments)
    assert found.code == 2
    assert said in found.err
    assert not (Path(output) / "quality").exists()


def test_a_folder_without_a_run_is_refused(evaluate, tmp_path: Path):
    found = evaluate(tmp_path)
    assert found.code == 2
    assert "holds no finished row" in found.err
