"""Probe, decode, encode and verify on real files."""

import subprocess
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from itertools import groupby
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from evs_batch.media.decode import decode
from evs_batch.media.encode import encode
from evs_batch.media.probe import probe
from evs_batch.media.verify import verify
from evs_batch.spec.errors import MediaError
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import VideoFacts, constant_rate
from evs_batch.store import storage
from tests.conftest import stripes


def ffmpeg(*arguments: str) -> None:
    """The last argument is the output. One thread: those of libvpx wait for each other for ever on a busy machine."""
    *words, out = arguments
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *words, "-threads", "1", out], check=True, timeout=60
    )


def audio_packets(path: Path) -> list[tuple[int, bytes]]:
    with av.open(str(path)) as container:
        return [(packet.pts, bytes(packet)) for packet in container.demux(audio=0) if packet.size]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """36 frames at 23.976 frames a second, 130x98, with sound."""
    path = tmp_path / "film.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=130x98:rate=24000/1001:duration=1.5",
        "-f", "lavfi", "-i", "sine=frequency=440:duration=1.6", "-pix_fmt", "yuv420p", "-c:a", "aac", str(path),
    )  # fmt: skip
    return path


def test_a_video_goes_through_with_its_timestamps_and_its_sound(film: Path, tmp_path: Path):
    with film.open("rb") as source:
        facts = probe(source)
        source.seek(0)
        frames = decode(source, facts)
        source.seek(0)
        written = encode(tmp_path / "out.mp4", frames, facts, Output(quality=4), source)
    verify(tmp_path / "out.mp4", facts, written)
    with (tmp_path / "out.mp4").open("rb") as result:
        again = probe(result)
        result.seek(0)
        assert np.abs(decode(result, again).astype(int) - frames).mean() < 5
    assert (again.frames, again.rate, again.pts, again.durations) == (
        36,
        Fraction(24000, 1001),
        facts.pts,
        facts.durations,
    )
    assert audio_packets(tmp_path / "out.mp4") == audio_packets(film)


def test_a_variable_frame_rate_stays_variable(tmp_path: Path):
    pts = (0, 100, 300, 350, 900, 1000)
    facts = constant_rate(6, 32, 48, Fraction(25))
    uneven = type(facts)(
        **{**vars(facts), "pts": pts, "durations": (100, 200, 50, 550, 100, 40), "time_base": Fraction(1, 1000)}
    )
    encode(tmp_path / "vfr.mp4", stripes(6, 32, 48), uneven, Output())
    with (tmp_path / "vfr.mp4").open("rb") as file:
        found = probe(file)
    assert tuple(stamp * found.time_base * 1000 for stamp in found.pts) == pts


def test_equal_frames_give_equal_bytes(tmp_path: Path):
    frames, facts = stripes(40, 176, 320), constant_rate(40, 176, 320, Fraction(25))
    for attempt in range(5):
        encode(tmp_path / f"{attempt}.mp4", frames, facts, Output(quality=8))
    assert len({(tmp_path / f"{attempt}.mp4").read_bytes() for attempt in range(5)}) == 1


def test_odd_sizes_are_kept(tmp_path: Path):
    encode(tmp_path / "odd.mp4", stripes(4, 33, 47), constant_rate(4, 33, 47, Fraction(25)), Output())
    with (tmp_path / "odd.mp4").open("rb") as file:
        facts = probe(file)
    assert (facts.height, facts.width, facts.frames) == (33, 47, 4)


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
def test_colours_follow_the_tagged_matrix_as_in_another_decoder(matrix: str, tmp_path: Path):
    path, raw = tmp_path / "red.mkv", tmp_path / "red.rgb"
    ffmpeg(
        "-f", "lavfi", "-i", "color=c=0xC03020:size=64x64:rate=10:duration=0.5",
        "-vf", f"format=rgb24,scale=out_color_matrix={matrix}", "-colorspace", matrix,
        "-pix_fmt", "yuv420p", "-c:v", "libx264", "-crf", "1", str(path),
    )  # fmt: skip
    ffmpeg("-i", str(path), "-pix_fmt", "rgb24", "-f", "rawvideo", str(raw))
    with path.open("rb") as file:
        facts = probe(file)
        file.seek(0)
        ours = decode(file, facts).reshape(-1, 3).mean(0)
        file.seek(0)
        mistaken = decode(file, replace(facts, matrix={1: 6, 6: 1}[facts.matrix])).reshape(-1, 3).mean(0)
    theirs = np.frombuffer(raw.read_bytes(), np.uint8).reshape(-1, 3).mean(0)
    assert np.abs(ours - theirs).max() <= 2
    assert np.abs(mistaken - theirs).max() > 8


def through(source: Path, target: Path) -> tuple[VideoFacts, VideoFacts, np.ndarray]:
    """Decode and encode again; returns the facts of both files and the frames."""
    with source.open("rb") as file:
        facts = probe(file)
        file.seek(0)
        frames = decode(file, facts)
        file.seek(0)
        written = encode(target, frames, facts, Output(quality=4), file)
    verify(target, facts, written)
    with target.open("rb") as file:
        return facts, probe(file), frames


def test_an_empty_file_is_no_video(tmp_path: Path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(MediaError, match="is empty"):
        storage.open_input(str(tmp_path / "empty.mp4"))


def test_a_losslessly_trimmed_video_shows_what_players_show(tmp_path: Path):
    whole, trimmed = tmp_path / "whole.mp4", tmp_path / "trimmed.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=2", "-g", "50", "-pix_fmt", "yuv420p", str(whole))
    ffmpeg("-ss", "0.5", "-i", str(whole), "-c", "copy", str(trimmed))
    before, after, _ = through(trimmed, tmp_path / "out.mp4")
    assert before.frames == after.frames < 50


def test_fragmented_files_and_other_containers_are_whole(film: Path, tmp_path: Path):
    for name, options in {
        "fragmented.mp4": ["-c", "copy", "-movflags", "frag_keyframe+empty_moov"],
        "film.mkv": ["-c", "copy"],
        "film.avi": ["-c:v", "mpeg4", "-c:a", "mp3"],
        "film.webm": ["-c:v", "libvpx-vp9", "-c:a", "libopus", "-deadline", "realtime"],
    }.items():
        ffmpeg("-i", str(film), *options, str(tmp_path / name))
        before, after, _ = through(tmp_path / name, tmp_path / f"{name}.out.mp4")
        assert (before.frames, after.frames) == (36, 36), name


def test_a_clock_that_starts_late_does_not_become_a_blank_beginning(film: Path, tmp_path: Path):
    ffmpeg("-i", str(film), "-c", "copy", "-output_ts_offset", "3600", str(tmp_path / "broadcast.ts"))
    before, after, _ = through(tmp_path / "broadcast.ts", tmp_path / "out.mp4")
    sound_s = audio_packets(tmp_path / "out.mp4")[0][0] / 44100
    assert before.pts[0] * before.time_base > 3600
    assert after.pts[0] * after.time_base < 0.2
    with av.open(str(tmp_path / "broadcast.ts")) as container:
        first = {s.type: s.start_time * s.time_base for s in container.streams}
    apart_s = float(after.pts[0] * after.time_base) - sound_s
    assert apart_s == pytest.approx(float(first["video"] - first["audio"]), abs=0.002), "sound stays in sync"


def test_sound_and_pictures_are_interleaved(tmp_path: Path):
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5:duration=30", "-f", "lavfi", "-i", "sine=duration=30",
        "-pix_fmt", "yuv420p", "-c:a", "aac", str(tmp_path / "long.mp4"),
    )  # fmt: skip
    through(tmp_path / "long.mp4", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        places = sorted((packet.pos, packet.stream.type) for packet in container.demux() if packet.size)
    pictures_in_a_row = max(len(list(run)) for kind, run in groupby(kind for _, kind in places) if kind == "video")
    assert pictures_in_a_row <= 10, "at most two seconds without sound"


@pytest.mark.parametrize(("codec", "name"), [("pcm_mulaw", "old.mov"), ("pcm_s16le", "old.mkv"), ("wmav2", "old.mkv")])
def test_sound_that_mp4_cannot_hold_is_refused_before_any_work(codec: str, name: str, film: Path, tmp_path: Path):
    ffmpeg("-i", str(film), "-c:v", "copy", "-c:a", codec, "-ac", "2", str(tmp_path / name))
    with (tmp_path / name).open("rb") as file, pytest.raises(MediaError, match=f"audio in {codec}"):
        probe(file)


@pytest.mark.parametrize(("track", "what"), [("A_AAC", "audio in an unknown codec"), ("V_MPEG4/ISO/AVC", "unknown")])
def test_a_track_in_an_unknown_codec_is_refused_by_name(track: str, what: str, film: Path, tmp_path: Path):
    ffmpeg("-i", str(film), "-c", "copy", str(tmp_path / "a.mkv"))
    data = (tmp_path / "a.mkv").read_bytes()
    assert track.encode() in data
    with pytest.raises(MediaError, match=what):
        probe(BytesIO(data.replace(track.encode(), track[:2].encode() + b"X" * (len(track) - 2))))


def test_a_bare_stream_that_cannot_be_sought_is_probed_or_refused_by_name(tmp_path: Path):
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=1", "-c:v", "libx264", str(tmp_path / "a.h264"))
    with (tmp_path / "a.h264").open("rb") as file:
        assert probe(file).frames == 25


def _sound_only(path: Path) -> bytes:
    ffmpeg("-i", str(path), "-vn", "-c", "copy", str(path.with_suffix(".m4a")))
    return path.with_suffix(".m4a").read_bytes()


def _truncated(path: Path) -> bytes:
    ffmpeg("-i", str(path), "-c", "copy", "-movflags", "+faststart", str(path.with_name("fast.mp4")))
    return path.with_name("fast.mp4").read_bytes()[:-9000]


HOSTILE = {
    "empty": lambda _: b"",
    "text": lambda _: b"hello, I am a text file called video.mp4\n" * 50,
    "playlist": lambda film: f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{film}\n#EXT-X-ENDLIST\n".encode(),
    "concat": lambda film: f"ffconcat version 1.0\nfile '{film}'\n".encode(),
    "truncated": _truncated,
    "sound only": _sound_only,
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_whole_video_is_refused_by_name(kind: str, film: Path):
    data = HOSTILE[kind](film)
    with pytest.raises(MediaError) as caught:
        decode(BytesIO(data), probe(BytesIO(data)))
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "codecs"),
    [("a.mkv", ["aac"]), ("a.flv", ["aac"]), ("a.avi", ["mp3"]), ("a.webm", ["libopus", "-c:v", "libvpx"])],
)
def test_a_file_that_says_how_long_it_is_must_be_so_long(name: str, codecs: list[str], tmp_path: Path):
    lengths = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=4"]
    sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=4.5"]
    ffmpeg(*lengths, *sound, "-pix_fmt", "yuv420p", "-c:a", *codecs, str(tmp_path / name))
    data = (tmp_path / name).read_bytes()
    assert probe(BytesIO(data)).frames == 100
    with pytest.raises(MediaError, match="it is truncated"):
        probe(BytesIO(data[: len(data) * 3 // 5]))
