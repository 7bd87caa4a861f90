"""The media worker on long clips, segment by segment."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evs_batch.media.decode import decode
from evs_batch.media.encode import encode
from evs_batch.media.probe import probe
from evs_batch.spec.errors import EncodeError, MediaError, RecipeError
from evs_batch.spec.recipe import Recipe, load_recipe, parse_recipe
from evs_batch.spec.segments import Segments, cut
from evs_batch.spec.video import VideoFacts
from evs_batch.spec.work import DECODE, ENCODE, JOIN, PROBE, Clip
from evs_batch.stages import media
from evs_batch.stages.item import Item, Probed
from tests.conftest import ROOT
from tests.media.test_media import ffmpeg

FRAMES = 40


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """40 frames that change their colours at the 20th, where a segment begins."""
    path = tmp_path / "film.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=0.8",
        "-f", "lavfi", "-i", "color=c=0x204060:size=96x64:rate=25:duration=0.8",
        "-filter_complex", "[0][1]concat", "-pix_fmt", "yuv420p", str(path),
    )  # fmt: skip
    return path


def facts_of(path: Path) -> VideoFacts:
    with path.open("rb") as file:
        return probe(file)


def item(path: Path, segments: Segments, number: int, name: str = "a") -> Item:
    clip = Clip(id=name, uri=str(path), prompt="x", seed=1)
    folder = path.parent
    return Item(
        clip=clip, facts=facts_of(path), output=str(folder / f"out/{name}.mp4"), segments=segments, number=number,
        parts=str(folder / "parts" / name),
    )  # fmt: skip


def run(runner: media.MediaRunner, stage: Any, item: Item, **arrays: np.ndarray) -> Any:
    if item.facts and not stage.whole:
        item = replace(item, facts=item.facts.part(item.own))
    return runner.run(stage, [item], [arrays])[0]


def test_a_result_that_is_not_right_is_not_published(film: Path, monkeypatch: pytest.MonkeyPatch):
    def careless(path: Path, frames: np.ndarray, facts: VideoFacts, *rest: Any) -> Any:
        return encode(path, frames[:-1], facts.part(range(facts.frames - 1)), *rest)

    runner, whole = media.MediaRunner(load_recipe("identity")), item(film, Segments(FRAMES), 0)
    frames = run(runner, DECODE, whole).arrays["frames"]
    monkeypatch.setattr(media, "encode", careless)
    with pytest.raises(EncodeError, match="39 of 40 frames"):
        run(runner, ENCODE, whole, frames=frames)
    assert not Path(whole.output).exists()
    monkeypatch.undo()
    assert run(runner, ENCODE, whole, frames=frames).row["num_frames"] == FRAMES
    assert Path(whole.output).exists()


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_segments_are_decoded_with_their_cuts(film: Path, order: list[int]):
    runner, segments = media.MediaRunner(Recipe()), cut(FRAMES, 10)
    with film.open("rb") as file:
        whole = decode(file, facts_of(film))
    for number in order:
        made = run(runner, DECODE, item(film, segments, number)).arrays
        span = segments.span(number)
        assert np.array_equal(made["frames"], whole[span.start : span.stop])
        assert np.flatnonzero(made["cuts"]).tolist() == ([0] if number == 2 else [])


def test_only_so_many_files_stay_open(film: Path):
    runner, segments = media.MediaRunner(Recipe()), cut(FRAMES, 10)
    for number in range(media.OPEN_VIDEOS + 3):
        run(runner, DECODE, item(film, segments, 0, f"clip{number}"))
    held = list(runner._open)
    assert held == [f"clip{number}" for number in range(3, media.OPEN_VIDEOS + 3)]
    for name in held:
        for number in range(1, 4):
            run(runner, DECODE, item(film, segments, number, name))
    assert not runner._open, "files that are read to the end are closed"


def test_large_pictures_leave_room_for_few_open_files(film: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(media, "OPEN_PIXELS", 2 * 64 * 96)
    runner, segments = media.MediaRunner(Recipe()), cut(FRAMES, 10)
    for number in range(4):
        run(runner, DECODE, item(film, segments, 0, f"clip{number}"))
    assert list(runner._open) == ["clip2", "clip3"]


def test_what_the_result_cannot_hold_is_refused_by_the_probe(film: Path, tmp_path: Path):
    odd, heard = tmp_path / "odd.mkv", tmp_path / "heard.mkv"
    ffmpeg("-i", str(film), "-vf", "scale=97:65,format=yuv444p", str(odd))
    ffmpeg("-i", str(film), "-f", "lavfi", "-i", "sine=duration=1", "-c:v", "copy", "-c:a", "wavpack", str(heard))
    in_av1, in_mp4 = (media.MediaRunner(parse_recipe({"output": {"codec": codec}})) for codec in ("av1", "h264"))
    in_mkv = media.MediaRunner(parse_recipe({"output": {"container": "mkv"}}))
    assert probe_of(in_mp4, odd).facts.width == 97
    with pytest.raises(RecipeError, match="must have even sides"):
        probe_of(in_av1, odd)
    with_sound = Clip(id="a", uri=str(heard), prompt="x", seed=1)
    assert probe_of(in_mkv, film, clip=with_sound).facts.frames == FRAMES
    with pytest.raises(MediaError, match=r"set output\.container = 'mkv'"):
        probe_of(in_mp4, film, clip=with_sound)


def test_the_probe_finds_the_parts_of_an_earlier_run(film: Path, tmp_path: Path):
    recipe = parse_recipe({"runtime": {"segment_frames": 15}})
    runner, segments = media.MediaRunner(recipe), cut(FRAMES, 15)
    assert probe_of(runner, film).size.done == frozenset()
    segment = replace(item(film, segments, 1), parts=probe_of(runner, film).parts)
    frames = run(runner, DECODE, segment).arrays["frames"]
    run(runner, ENCODE, segment, frames=frames)
    assert probe_of(runner, film).size.done == {1}

    assert not probe_of(runner, film, clip=replace(segment.clip, prompt="y")).size.done
    assert not probe_of(media.MediaRunner(replace_keys(recipe, seed=5)), film).size.done
    negative = tmp_path / "other.mp4"
    ffmpeg("-i", str(film), "-vf", "negate", "-pix_fmt", "yuv420p", str(negative))
    negative.replace(film)
    assert probe_of(runner, film).facts == segment.facts
    assert not probe_of(runner, film).size.done, "another video has other parts, even with the same timestamps"
    assert probe_of(runner, film, budget_bytes=0).size.segments.count == 5
    before = replace(item(film, cut(FRAMES, 8), 2), parts=probe_of(runner, film, budget_bytes=0).parts)
    run(runner, ENCODE, before, frames=run(runner, DECODE, before).arrays["frames"])
    assert probe_of(runner, film).size.done == {2}, "parts are used, even if there is room for longer ones now"
    shorter = media.MediaRunner(replace_keys(recipe, runtime={"segment_frames": 10}))
    assert probe_of(shorter, film).parts != probe_of(runner, film).parts


def replace_keys(recipe: Recipe, **keys: Any) -> Recipe:
    return parse_recipe({**recipe.model_dump(), **keys})


def test_segments_are_shorter_where_memory_is_small(film: Path):
    """The paper's recipe doubles the size: 40 frames need 2.9 MB for their pixels and 0.8 MB for their latents."""
    runner = media.MediaRunner(load_recipe("enhance"))
    assert [probe_of(runner, film, round(mb * 1e6)).size.segments.count for mb in (4, 3.7, 2, 0)] == [1, 3, 5, 5]


def probe_of(runner: media.MediaRunner, film: Path, budget_bytes: int = 10**9, clip: Clip | None = None) -> Probed:
    asked = replace(item(film, Segments(1), 0), facts=None, budget_bytes=budget_bytes)
    return run(runner, PROBE, replace(asked, clip=clip or asked.clip)).probed


def test_a_file_that_cannot_be_decoded_is_not_kept_open(film: Path):
    runner, segments = media.MediaRunner(Recipe()), cut(50, 25)
    long = item(film, segments, 0)
    facts = replace(long.known, pts=tuple(range(50)), durations=(1,) * 50)
    run(runner, DECODE, replace(long, facts=facts))
    with pytest.raises(MediaError, match="frame 40 of 50"):
        run(runner, DECODE, replace(long, facts=facts, number=1))
    assert not runner._open


def test_a_missing_part_is_no_fault_of_the_source(film: Path):
    with pytest.raises(EncodeError, match="is a part of the result and cannot be read"):
        run(media.MediaRunner(Recipe()), JOIN, item(film, cut(FRAMES, 15), 0))


def test_segments_become_parts_and_parts_one_video(film: Path):
    runner, segments = media.MediaRunner(Recipe()), cut(FRAMES, 15)
    for number in range(segments.count):
        segment = item(film, segments, number)
        frames = run(runner, DECODE, segment).arrays["frames"]
        assert run(runner, ENCODE, segment, frames=frames).row is None
    assert not (film.parent / "out").exists(), "nothing is published before it is whole"
    row = run(runner, JOIN, item(film, segments, 0)).row
    assert (row["num_frames"], row["height"], row["width"]) == (FRAMES, 64, 96)
    assert facts_of(Path(row["output_uri"])).pts == facts_of(film).pts


@pytest.mark.slow
def test_a_long_video_of_1080p_is_bounded_in_memory():
    """12 seconds of it, encoded too; `bench/ten_minutes.py` has the figures of a whole one."""
    script = [sys.executable, str(ROOT / "bench" / "ten_minutes.py"), "0.2", "encode"]
    said = subprocess.run(script, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "300 frames in 5 segments" in said
    assert int(re.findall(r"peak memory of the process: (\d+) MB", said)[0]) < 1000
