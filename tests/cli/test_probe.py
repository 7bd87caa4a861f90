import json
from pathlib import Path

from typer.testing import CliRunner

from evs_batch.cli.main import app
from tests.conftest import ROOT
from tests.media.cases import CASES
from tests.media.making import make


def found(*arguments: str | Path) -> tuple[int, list[dict]]:
    done = CliRunner().invoke(app, ["probe", *map(str, arguments)])
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]


def test_a_file_is_described_on_a_line(tmp_path: Path):
    code, (facts,) = found(ROOT / "manifests" / "clips" / "with_sound.mp4")
    assert code == 0
    assert (facts["frames"], facts["fps"], facts["duration_s"], facts["variable_rate"]) == (40, 25.0, 1.6, False)
    assert [(track["kind"], track["codec"]) for track in facts["tracks"]] == [("audio", "aac")]
    _, (facts,) = found(make(CASES["variable rate, mkv"], tmp_path))
    assert facts["variable_rate"]
    _, (facts,) = found(make(CASES["alpha, ProRes"], tmp_path))
    assert facts["alpha"]
    assert facts["warnings"] == ["alpha channel is left out", "models see 8 of 12 bits"]
    assert (facts["codec"], facts["pixel_format"]) == ("prores", "yuva444p12le")


def test_a_file_that_would_fail_says_why_and_the_others_are_described(tmp_path: Path):
    (tmp_path / "text.mp4").write_text("I am a text file\n" * 100)
    code, (bad, good, missing) = found(
        tmp_path / "text.mp4", ROOT / "manifests" / "clips" / "short.mp4", tmp_path / "nowhere.mp4"
    )
    assert code == 1
    assert "is not a video" in bad["error"]
    assert good["frames"] > 0
    assert "nowhere.mp4" in missing["error"]
