"""Long videos: read in runs, cut where shots begin, encoded in parts and joined."""

import contextlib
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from evs_batch.media import decode as decoding
from evs_batch.media import encoders
from evs_batch.media.cuts import BEFORE, find_cuts
from evs_batch.media.decode import Reader, decode
from evs_batch.media.encode import encode, join
from evs_batch.media.filters import Scaler
from evs_batch.media.probe import probe
from evs_batch.media.streams import Copied
from evs_batch.media.verify import verify
from evs_batch.spec.errors import EncodeError, MediaError
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import VideoFacts, constant_rate
from evs_batch.tiny import clips
from tests.conftest import stripes
from tests.media.test_media import audio_packets, ffmpeg

KINDS = {
    "mp4": ["-c:v", "libx264", "-g", "12", "-pix_fmt", "yuv420p"],
    "long_gop.mp4": ["-c:v", "libx264", "-g", "250", "-pix_fmt", "yuv420p"],
    "open_gop.mkv": ["-c:v", "libx264", "-g", "12", "-x264-params", "open-gop=1", "-pix_fmt", "yuv420p"],
    "hevc.mp4": ["-c:v", "libx265", "-x265-params", "log-level=none:keyint=12", "-pix_fmt", "yuv420p"],
    "ts": ["-c:v", "libx264", "-g", "12", "-pix_fmt", "yuv420p"],
    "avi": ["-c:v", "mpeg4", "-g", "12", "-bf", "2"],
    "webm": ["-c:v", "libvpx-vp9", "-g", "12", "-deadline", "realtime", "-pix_fmt", "yuv420p"],
}


@pytest.fixture(params=KINDS, ids=str)
def film(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """60 frames of each kind."""
    path = tmp_path / (request.param if "." in request.param else f"film.{request.param}")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=2.4", *KINDS[request.param], str(path))
    return path


def facts_of(path: Path) -> VideoFacts:
    with path.open("rb") as file:
        return probe(file)


@pytest.mark.parametrize("runs", [[(0, 20), (20, 45), (45, 60)], [(45, 60), (0, 20), (20, 45)], [(31, 33), (30, 32)]])
def test_runs_of_frames_are_those_of_the_whole_video(film: Path, runs: list[tuple[int, int]]):
    facts = facts_of(film)
    with film.open("rb") as file:
        whole = decode(file, facts)
    with film.open("rb") as file:
        reader = Reader(file, facts)
        for start, stop in runs:
            assert np.array_equal(reader.read(range(start, stop)), whole[start:stop])
            before = reader.approach(stop, BEFORE)
            assert np.array_equal(before, whole[stop - 2 : stop])


def test_frames_whose_stamps_are_in_decoding_order_are_not_sought_by_them(tmp_path: Path):
    raw, path = tmp_path / "film.h264", tmp_path / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=2.4", *KINDS["mp4"], str(raw))
    ffmpeg("-r", "25", "-i", str(raw), "-c", "copy", str(path))
    facts = facts_of(path)
    assert not facts.stamped
    with path.open("rb") as file:
        whole = decode(file, facts)
    with path.open("rb") as file:
        assert np.array_equal(Reader(file, facts).read(range(19, 38)), whole[19:38])


def test_a_run_that_follows_another_is_decoded_once(film: Path, monkeypatch: pytest.MonkeyPatch):
    facts, seen = facts_of(film), []
    real = Scaler.__call__
    monkeypatch.setattr(Scaler, "__call__", lambda self, frame: seen.append(frame.pts) or real(self, frame))
    opened = []
    real_open = decoding.open_video
    monkeypatch.setattr(decoding, "open_video", lambda file: opened.append(file) or real_open(file))
    with film.open("rb") as file:
        reader = Reader(file, facts)
        for start in range(0, 60, 20):
            reader.approach(start, BEFORE)
            reader.read(range(start, start + 20))
    assert (len(seen), len(opened)) == (60, 1)


def test_a_file_that_ends_early_fails_in_the_segment_where_it_ends(tmp_path: Path):
    path = tmp_path / "film.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=2.4", *KINDS["mp4"], str(path))
    facts = facts_of(path)
    more = replace(facts, pts=(*facts.pts, 9999), durations=(*facts.durations, 1))
    with path.open("rb") as file:
        reader = Reader(file, more)
        reader.read(range(50))
        with pytest.raises(MediaError, match=r"frame 60 of 61.*ends early"):
            reader.read(range(50, 61))
    less = replace(facts, pts=facts.pts[:-1], durations=facts.durations[:-1])
    with path.open("rb") as file, pytest.raises(MediaError, match="more frames than packets"):
        Reader(file, less).read(range(59))


def test_planted_cuts_are_found_and_nothing_else():
    scenes = [clips.degrade(clips.render(clips.scene(seed), 12), seed) for seed in (3, 5, 8, 12)]
    frames = np.concatenate(scenes)
    found = find_cuts(frames, [], 10.0)
    assert np.flatnonzero(found).tolist() == [12, 24, 36]
    for start in (10, 11, 12, 13, 24):
        before = [*frames[max(0, start - BEFORE) : start]]
        assert np.array_equal(find_cuts(frames[start:], before, 10.0), found[start:]), "as in the whole video"
    assert not find_cuts(frames, [], 100.0).any()


def test_fast_motion_is_no_cut():
    wide = np.tile(np.linspace(0, 255, 96, dtype=np.uint8)[None, :, None], (64, 1, 3))
    pan = np.stack([np.roll(wide, 30 * frame, axis=1) for frame in range(20)])
    assert not find_cuts(pan, [], 10.0).any()


def in_parts(tmp_path: Path, frames: np.ndarray, facts: VideoFacts, ends: list[int]) -> list[Path]:
    paths = []
    for number, (start, stop) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        paths.append(tmp_path / f"part{number}.mp4")
        encode(paths[-1], frames[start:stop], facts.part(range(start, stop)).from_zero(), Output(quality=4))
    return paths


@pytest.mark.parametrize("ends", [[36], [12, 24, 36], [1, 2, 5, 36], [35, 36]])
def test_parts_are_joined_with_the_sources_timestamps_and_sound(ends: list[int], tmp_path: Path):
    path, out = tmp_path / "film.mp4", tmp_path / "out.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=130x98:rate=24000/1001:duration=1.5",
        "-f", "lavfi", "-i", "sine=frequency=440:duration=1.6", "-pix_fmt", "yuv420p", "-c:a", "aac", str(path),
    )  # fmt: skip
    facts = facts_of(path)
    with path.open("rb") as file:
        frames = decode(file, facts)
    with path.open("rb") as file:
        parts = [part.open("rb") for part in in_parts(tmp_path, frames, facts, ends)]
        written = join(out, parts, facts, Output(), file)
    assert (written.height, written.width) == (98, 130)
    assert all(part.closed for part in parts)
    verify(out, facts, written)
    again = facts_of(out)
    assert (again.pts, again.durations, again.rate) == (facts.pts, facts.durations, facts.rate)
    assert (again.matrix, again.aspect) == (facts.matrix, facts.aspect)
    with out.open("rb") as file:
        assert np.abs(decode(file, again).astype(int) - frames).mean() < 5
    assert audio_packets(out) == audio_packets(path)


def test_a_variable_frame_rate_survives_the_joints(tmp_path: Path, make_video: Callable[..., Path]):
    pts = (0, 100, 130, 150, 900, 1000, 1900, 1901, 1950, 3000)
    durations = tuple(b - a for a, b in zip(pts, (*pts[1:], 3040), strict=True))
    facts = replace(constant_rate(10, 32, 48, Fraction(25)), pts=pts, durations=durations, time_base=Fraction(1, 1000))
    parts = in_parts(tmp_path, stripes(10, 32, 48), facts, [4, 5, 10])
    with make_video().open("rb") as silent:
        join(tmp_path / "vfr.mp4", [part.open("rb") for part in parts], facts, Output(), silent)
    verify(tmp_path / "vfr.mp4", facts)
    found = facts_of(tmp_path / "vfr.mp4")
    assert tuple(stamp * found.time_base * 1000 for stamp in found.pts) == pts
    with av.open(str(tmp_path / "vfr.mp4")) as container:
        assert container.duration == 3_040_000
        decoded = [packet.dts for packet in container.demux(video=0) if packet.size]
    assert decoded == sorted(set(decoded))


def test_parts_of_another_encoder_are_refused(tmp_path: Path, make_video: Callable[..., Path]):
    facts = constant_rate(8, 32, 48, Fraction(25))
    parts = in_parts(tmp_path, stripes(8, 32, 48), facts, [4, 8])
    encode(parts[1], stripes(4, 48, 32), constant_rate(4, 48, 32, Fraction(25)), Output())
    files = [part.open("rb") for part in parts]
    with make_video().open("rb") as silent, pytest.raises(EncodeError, match="other settings"):
        join(tmp_path / "out.mp4", files, facts, Output(), silent)
    with pytest.raises(EncodeError, match="cannot be written"):
        join(tmp_path / "no" / "out.mp4", [(first := parts[0].open("rb"))], facts, Output(), parts[0].open("rb"))
    assert all(file.closed for file in (*files, first))


def test_sound_is_read_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An hour of it need not be in memory; two tracks begin at one moment."""
    path = tmp_path / "film.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=4",
        "-f", "lavfi", "-i", "sine=frequency=440:duration=4", "-f", "lavfi", "-i", "sine=frequency=220:duration=3",
        "-map", "0", "-map", "1", "-map", "2", "-pix_fmt", "yuv420p", "-c:a", "aac", str(path),
    )  # fmt: skip
    facts, events = facts_of(path), list[str]()
    with path.open("rb") as file:
        frames = decode(file, facts)
    real, real_tag = Copied.add, encoders.tag
    monkeypatch.setattr(Copied, "add", lambda *args: events.append("sound") or real(*args))
    monkeypatch.setattr(encoders, "tag", lambda *args: events.append("frame") or real_tag(*args))
    with path.open("rb") as file:
        encode(tmp_path / "out.mp4", frames, facts, Output(), file)
    assert audio_packets(tmp_path / "out.mp4") == audio_packets(path)
    assert events[-1] == "sound"
    assert events.index("frame", len(events) // 2) > 20, "frames and sound take turns"


def test_fields_are_made_frames_alike_in_segments(tmp_path: Path):
    """A frame depends on those around it, also where reading begins in the middle."""
    path = tmp_path / "fields.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=96x64:rate=50:duration=2", "-vf",
        "tinterlace=mode=interleave_top,fieldorder=tff", "-pix_fmt", "yuv420p", "-c:v", "libx264",
        "-flags", "+ildct+ilme", "-g", "10", str(path),
    )  # fmt: skip
    facts = facts_of(path)
    assert facts.interlaced
    with path.open("rb") as file:
        whole = decode(file, facts)
    shown = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-vf", "bwdif=mode=send_frame", "-sws_flags",
         "bicubic+accurate_rnd+full_chroma_int", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    theirs = np.frombuffer(shown, np.uint8).reshape(whole.shape)
    assert np.abs(whole.astype(int) - theirs).mean() < 1, "fields in the right order"
    with path.open("rb") as file, contextlib.closing(Reader(file, facts)) as reader:
        for span in (range(20, 30), range(7, 9), range(40, 50), range(5), range(5, 12)):
            assert np.array_equal(reader.read(span), whole[span.start : span.stop]), span


def test_cuts_are_those_of_ffmpegs_scdet(tmp_path: Path):
    path = tmp_path / "cuts.mp4"
    sources = ["testsrc2", "mandelbrot", "smptebars", "testsrc", "rgbtestsrc"]
    lengths = [12, 20, 9, 15, 11]
    shots = [
        f"{name}=size=160x90:rate=25,trim=end_frame={length},format=yuv420p,setsar=1[{at}v]"
        for at, (name, length) in enumerate(zip(sources, lengths, strict=True))
    ]
    joined = "".join(f"[{at}v]" for at in range(5)) + "concat=n=5[v]"
    # Not as inputs without an end: ffmpeg said once that there was no space left.
    ffmpeg("-filter_complex", ";".join([*shots, joined]), "-map", "[v]", str(path))
    found = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-vf", "scdet=threshold=10", "-f", "null", "-"],
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    theirs = [round(float(time) * 25) for time in re.findall(r"lavfi\.scd\.time: ([\d.]+)", found)]
    facts = facts_of(path)
    with path.open("rb") as file:
        ours = np.flatnonzero(find_cuts(decode(file, facts), [], 10.0)).tolist()
    assert ours == theirs == np.cumsum(lengths)[:-1].tolist()
