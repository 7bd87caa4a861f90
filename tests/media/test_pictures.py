"""Results as pictures in a zip file, and previews."""

import json
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from evs_batch.evaluate import psnr
from evs_batch.media import previews
from evs_batch.media.decode import decode
from evs_batch.media.encode import encode, join
from evs_batch.media.probe import probe
from evs_batch.media.verify import verify
from evs_batch.spec.errors import EncodeError
from evs_batch.spec.recipe import Output, load_recipe
from evs_batch.spec.video import VideoFacts
from tests.conftest import ROOT
from tests.media.cases import CASES
from tests.media.making import make
from tests.media.test_cases import enhance

ZIP = Output(codec="png", container="zip")
SOURCE = ROOT / "manifests" / "clips" / "with_sound.mp4"


def read(path: Path) -> tuple[VideoFacts, np.ndarray]:
    with path.open("rb") as file:
        facts = probe(file)
        file.seek(0)
        return facts, decode(file, facts)


def unpacked(path: Path, folder: Path) -> np.ndarray:
    """The frames, as ffmpeg reads the pictures."""
    with zipfile.ZipFile(path) as file:
        file.extractall(folder)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(folder / "%08d.png"), "-pix_fmt", "rgb24",
               "-f", "rawvideo", "-"]  # fmt: skip
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, 128, 128, 3)


def test_pictures_lose_nothing_and_have_times_and_sound_beside_them(tmp_path: Path):
    facts, frames = read(SOURCE)
    with SOURCE.open("rb") as file:
        written = encode(tmp_path / "a.zip", frames, facts, ZIP, file)
    verify(tmp_path / "a.zip", facts, written)
    assert np.array_equal(unpacked(tmp_path / "a.zip", tmp_path / "out"), frames)
    head, *times = (tmp_path / "out" / "timestamps.txt").read_text().splitlines()
    assert head == "# timestamp format v2"
    assert [float(time) for time in times] == [40.0 * frame for frame in range(40)]
    packets = []
    for path in (SOURCE, tmp_path / "out" / "tracks.mkv"):
        with av.open(str(path)) as container:
            packets.append([bytes(packet) for packet in container.demux(audio=0) if packet.size])
    assert packets[0] == packets[1] != []


def test_chapters_and_tags_are_beside_the_pictures(tmp_path: Path):
    source = make(CASES["chapters and tags"], tmp_path)
    facts, frames = read(source)
    with source.open("rb") as file:
        encode(tmp_path / "a.zip", frames, facts, ZIP, file)
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        about = json.loads(file.read("about.json"))
    assert about["file"]["title"] == "A film"
    assert [(c["title"], c["start"], c["end"]) for c in about["chapters"]] == [("One", 0.0, 0.4), ("Two", 0.4, 1.0)]


def test_pictures_of_parts_are_those_of_the_whole(tmp_path: Path):
    facts, frames = read(SOURCE)
    spans = [range(15), range(15, 16), range(16, 40)]
    for number, span in enumerate(spans):
        encode(tmp_path / f"{number}.zip", frames[span.start : span.stop], facts.part(span).from_zero(), ZIP)
    names = []
    for name, write in {
        "whole": lambda file, path: encode(path, frames, facts, ZIP, file),
        "joined": lambda file, path: join(
            path, ((tmp_path / f"{n}.zip").open("rb") for n in range(3)), facts, ZIP, file
        ),
    }.items():
        with SOURCE.open("rb") as file:
            written = write(file, tmp_path / f"{name}.zip")
        assert (written.height, written.width) == (128, 128)
        names.append((tmp_path / f"{name}.zip").read_bytes())
    assert names[0] == names[1]


@pytest.mark.parametrize("harm", ["a picture is missing", "bytes are other ones", "the sound is missing"])
def test_a_damaged_file_of_pictures_is_noticed(harm: str, tmp_path: Path):
    facts, frames = read(SOURCE)
    with SOURCE.open("rb") as file:
        written = encode(tmp_path / "a.zip", frames, facts, ZIP, file)
    if harm == "bytes are other ones":
        data = bytearray((tmp_path / "a.zip").read_bytes())
        data[len(data) // 2] ^= 255
        (tmp_path / "a.zip").write_bytes(data)
    else:
        lacking = {"a picture is missing": "00000039.png", "the sound is missing": "tracks.mkv"}[harm]
        with zipfile.ZipFile(tmp_path / "a.zip") as old, zipfile.ZipFile(tmp_path / "b.zip", "w") as new:
            for name in old.namelist():
                if name != lacking:
                    new.writestr(name, old.read(name))
        (tmp_path / "b.zip").rename(tmp_path / "a.zip")
    with pytest.raises(EncodeError):
        verify(tmp_path / "a.zip", facts, written)


def test_previews_are_made_of_source_and_result(tmp_path: Path, make_manifest: Callable):
    recipe = load_recipe("identity", ["output.previews=['poster','sheet','side_by_side']"])
    (tmp_path / "a.mp4").write_bytes(SOURCE.read_bytes())
    _, frames, row, out = enhance(tmp_path / "a.mp4", recipe)
    assert row["output_warnings"] is None
    folder = out.parent.parent / "previews"
    assert sorted(path.name for path in folder.iterdir()) == ["a.poster.jpg", "a.sheet.jpg", "a.side_by_side.mp4"]
    with av.open(str(folder / "a.poster.jpg")) as file:
        assert psnr(next(file.decode(video=0)).to_ndarray(format="rgb24")[None], frames[20:21]) > 25
    with av.open(str(folder / "a.sheet.jpg")) as file:
        picture_HW3 = next(file.decode(video=0)).to_ndarray(format="rgb24")
    tile, gap = 240, 4
    assert picture_HW3.shape == (3 * (2 * tile + gap), 4 * (tile + gap), 3)
    assert np.abs(picture_HW3[:tile, :tile].astype(int) - picture_HW3[tile : 2 * tile, :tile]).mean() < 6
    facts, pairs = read(folder / "a.side_by_side.mp4")
    assert (facts.frames, facts.width, facts.height) == (40, 256, 128)
    assert psnr(pairs[:, :, :128], frames) > 25
    assert psnr(pairs[:, :, 128:], frames) > 25


def test_pixels_that_are_no_squares_are_shown_as_wide_as_they_are(tmp_path: Path):
    facts, frames = read(SOURCE)
    wide = replace(facts, aspect=2)
    encode(tmp_path / "a.mp4", frames, wide, Output())
    with SOURCE.open("rb") as file, previews.opened(file, wide, tmp_path / "a.mp4") as pair:
        previews.poster(tmp_path / "a.jpg", pair)
        previews.side_by_side(tmp_path / "pair.mp4", pair)
    pairs, _ = read(tmp_path / "pair.mp4")
    assert (pairs.width, pairs.height, pairs.aspect) == (512, 128, 1)
    with av.open(str(tmp_path / "a.jpg")) as file:
        assert (file.streams.video[0].width, file.streams.video[0].height) == (256, 128)


def test_only_the_first_rows_have_previews(tmp_path: Path):
    recipe = load_recipe("identity", ["output.previews=['poster']", "output.preview_rows=0"])
    (tmp_path / "a.mp4").write_bytes(SOURCE.read_bytes())
    _, _, _, out = enhance(tmp_path / "a.mp4", recipe)
    assert not (out.parent.parent / "previews").exists()


def test_previews_that_cannot_be_made_cost_nobody_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(path: Path, pair: previews.Pair) -> None:
        raise EncodeError("the preview", "cannot be written", "try again")

    monkeypatch.setattr(previews, "KINDS", {"poster": ("poster.jpg", broken)})
    (tmp_path / "a.mp4").write_bytes(SOURCE.read_bytes())
    _, _, row, out = enhance(tmp_path / "a.mp4", load_recipe("identity", ["output.previews=['poster']"]))
    assert "no previews: the preview" in row["output_warnings"]
    assert out.exists()


def test_previews_change_no_pixel_and_pictures_have_none(tmp_path: Path):
    recipe = load_recipe("identity", ["output.previews=['poster']"])
    assert recipe.fingerprint == load_recipe("identity").fingerprint
    recipe = load_recipe("identity", ["output.previews=['poster']", "output.codec=png", "output.container=zip"])
    (tmp_path / "a.mp4").write_bytes(SOURCE.read_bytes())
    _, _, row, out = enhance(tmp_path / "a.mp4", recipe)
    assert row["output_warnings"] is None
    assert not (out.parent.parent / "previews").exists()
