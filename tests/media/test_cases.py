"""Every file of the table goes through the media worker as through a job, and is compared with what ffmpeg shows."""

import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest

from evs_batch.media.files import video_stream
from evs_batch.media.languages import named
from evs_batch.media.probe import probe
from evs_batch.media.streams import PRIMING_S, contents, tags
from evs_batch.spec.errors import MediaError
from evs_batch.spec.recipe import Output, Recipe, load_recipe
from evs_batch.spec.segments import cut
from evs_batch.spec.video import VideoFacts
from evs_batch.spec.work import DECODE, ENCODE, JOIN, PROBE, Clip
from evs_batch.stages.item import Item
from evs_batch.stages.media import MediaRunner
from tests.conftest import ROOT
from tests.media.case import Case
from tests.media.cases import CASES, markdown
from tests.media.making import make

TOLERANCE_S = 0.001  # of mkv


def enhance(source: Path, recipe: Recipe, longest: int = 1000) -> tuple[VideoFacts, np.ndarray, dict[str, Any], Path]:
    """What a job does of one clip in segments, without Ray: its facts, decoded frames, output row and file."""
    runner, clip = MediaRunner(recipe), Clip(id="a", uri=str(source), prompt="x", seed=1)
    out = source.parent / "out" / f"a.{recipe.output.container}"
    item = Item(clip=clip, facts=None, output=str(out), parts=str(source.parent / "parts"), budget_bytes=10**9)
    (probed,) = runner.run(PROBE, [item], [{}])
    assert probed.probed is not None
    facts = probed.probed.facts
    item, frames = replace(item, facts=facts, segments=cut(facts.frames, longest)), []
    for number in range(item.segments.count):
        own = replace(item, number=number)
        (decoded,) = runner.run(DECODE, [own], [{}])
        frames.append(decoded.arrays["frames"])
        (made,) = runner.run(ENCODE, [replace(own, facts=facts.part(own.own))], [{"frames": frames[-1]}])
    if item.segments.count > 1:
        (made,) = runner.run(JOIN, [item], [{}])
    assert made.row is not None
    return facts, np.concatenate(frames), dict(made.row), out


def as_ffmpeg_shows(path: Path, height: int, width: int) -> np.ndarray:
    """All frames, by the program: upright, and from its own idea of the colours."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough",
        "-sws_flags", "bicubic+accurate_rnd+full_chroma_int", "-pix_fmt", "rgb24", "-f", "rawvideo", "-",
    ]  # fmt: skip
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance of pictures, in levels of 255."""
    return float(np.abs(a.astype(int) - b).mean())


def found(facts: VideoFacts, name: str) -> Any:
    """A fact, or what the table calls one."""
    gaps = {b - a for a, b in zip(facts.pts, facts.pts[1:], strict=False)}
    more = {
        "fps": round(facts.fps, 3),
        "even": (max(gaps, default=0) - min(gaps, default=0)) * facts.time_base < TOLERANCE_S * 1.5,
        "start_s": round(float(facts.pts[0] * facts.time_base), 2),
        "copied": " ".join(track.kind for track in facts.tracks if track.copied),
        "shown_less": facts.frames < 25,
        "aspect": str(facts.aspect),
    }
    return more[name] if name in more else getattr(facts, name)


def starts_s(path: Path) -> dict[str, float]:
    """When each kind of track begins."""
    with av.open(str(path), metadata_errors="replace") as file:
        begins = {"video": float(min(p.pts * p.time_base for p in file.demux(video=0) if p.size and not p.is_discard))}
    with av.open(str(path), metadata_errors="replace") as file:
        return {**{track.kind: track.begin_s or 0 for track in contents(file) if track.kind != "cover"}, **begins}


@pytest.mark.parametrize("longest", [1000, 7], ids=["whole", "in segments"])
@pytest.mark.parametrize("name", CASES)
def test_it_becomes_what_the_table_says(name: str, longest: int, tmp_path: Path):
    case = CASES[name]
    exact = ["output.quality=4", "output.pixel_format=yuv444p"]
    recipe = load_recipe("identity", [*exact, *(f"{key}={value}" for key, value in case.recipe.items())])
    source = make(case, tmp_path)
    if case.refused:
        with pytest.raises(MediaError, match=case.refused):
            enhance(source, recipe, longest)
        return
    facts, frames, row, out = enhance(source, recipe, longest)
    for fact, value in case.facts.items():
        assert found(facts, fact) == value, fact
    assert case.warned in (row["output_warnings"] or "")
    assert bool(case.warned) == bool(row["output_warnings"])
    if case.pixels:
        shown = as_ffmpeg_shows(source, facts.height, facts.width)
        assert shown.shape == frames.shape
        assert apart(frames, shown) < 1
    if out.suffix != ".zip":
        assert_all_is_there(source, facts, frames, out)


def assert_all_is_there(source: Path, facts: VideoFacts, frames: np.ndarray, out: Path) -> None:
    """Pictures, times, tracks, chapters and tags of a result."""
    with out.open("rb") as file:
        result = probe(file, Output(container=out.suffix[1:]))
    assert (result.frames, result.width, result.height) == (facts.frames, facts.width, facts.height)
    assert (result.rotation, result.mirrored, result.hdr, result.interlaced) == (0, False, False, False)
    assert (result.matrix, result.chapters) == (facts.tags[0], facts.chapters)
    assert float(result.aspect) == pytest.approx(float(facts.aspect), rel=1 / 200 if out.suffix == ".mkv" else 0)
    late_s = [
        (a - result.pts[0]) * result.time_base - (b - facts.pts[0]) * facts.time_base
        for a, b in zip(result.pts, facts.pts, strict=True)
    ]
    assert max(map(abs, late_s)) <= Fraction(TOLERANCE_S)
    if found(facts, "even"):
        assert result.fps == pytest.approx(facts.fps, rel=0.1), "as players show it"
    assert apart(as_ffmpeg_shows(out, facts.height, facts.width), frames) < 2
    spoken = [
        [name for t in of.tracks if t.copied and (name := named(t.language, out.suffix[1:])) not in ("", "und")]
        for of in (facts, result)
    ]
    assert spoken[0] == spoken[1]
    before, after = starts_s(source), starts_s(out)
    for track in facts.tracks:
        hidden = facts.hidden and out.suffix == ".mkv"
        if track.copied and track.kind in before and not hidden:
            apart_s = (before[track.kind] - before["video"]) - (after[track.kind] - after["video"])
            assert abs(apart_s) <= 2 * TOLERANCE_S, f"{track.kind} in step"
    with av.open(str(source), metadata_errors="replace") as a, av.open(str(out)) as b:
        if source.suffix == out.suffix == ".mkv":
            assert [s.disposition for s in b.streams.subtitles] == [s.disposition for s in a.streams.subtitles]
        wanted = {key.lower(): value for key, value in tags(a.metadata).items()}
        if facts.hidden and out.suffix == ".mkv":
            ends_s = [(p.pts + p.duration) * p.time_base for p in b.demux(audio=0) if p.size]
            assert min(ends_s) >= -PRIMING_S, "what an edit list hides is not heard"
        kept = {key.lower(): value for key, value in b.metadata.items()}
        assert wanted.items() <= kept.items()
        of_pictures = {n: v for n, v in tags(video_stream(a).metadata).items() if n != "handler_name" and v != "und"}
        assert of_pictures.items() <= video_stream(b).metadata.items(), "time code, language, title"


def test_the_table_of_the_documentation_is_this_one():
    assert markdown() in (ROOT / "docs" / "media.md").read_text()


def test_there_are_enough_cases():
    assert len(CASES) >= 40
    assert all(isinstance(case, Case) for case in CASES.values())
