"""Probe, decode, encode and verify on real files."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from evs_batch.media.decode import decode
from evs_batch.media.encode import constant_rate, encode
from evs_batch.media.probe import probe
from evs_batch.media.verify import verify
from evs_batch.spec.errors import EncodeError, MediaError
from evs_batch.spec.recipe import Output
from tests.conftest import stripes


def ffmpeg(*arguments: str) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments], check=True)


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
        encode(tmp_path / "out.mp4", frames, facts, Output(quality=4), source)
    verify(tmp_path / "out.mp4", 36)
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


def test_a_variable_frame_rate_stays_variable(tmp_path: Path, make_video: Callable[..., Path]):
    pts = (0, 100, 300, 350, 900, 1000)
    facts = constant_rate(6, 32, 48, Fraction(25))
    uneven = type(facts)(
        **{**vars(facts), "pts": pts, "durations": (100, 200, 50, 550, 100, 40), "time_base": Fraction(1, 1000)}
    )
    with make_video().open("rb") as silent:
        encode(tmp_path / "vfr.mp4", stripes(6, 32, 48), uneven, Output(), silent)
    with (tmp_path / "vfr.mp4").open("rb") as file:
        found = probe(file)
    assert tuple(stamp * found.time_base * 1000 for stamp in found.pts) == pts


def test_odd_sizes_are_kept(tmp_path: Path, make_video: Callable[..., Path]):
    with make_video().open("rb") as silent:
        encode(tmp_path / "odd.mp4", stripes(4, 33, 47), constant_rate(4, 33, 47, Fraction(25)), Output(), silent)
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
        mistaken = decode(file, replace(facts, matrix={1: 5, 5: 1}[facts.matrix])).reshape(-1, 3).mean(0)
    theirs = np.frombuffer(raw.read_bytes(), np.uint8).reshape(-1, 3).mean(0)
    assert np.abs(ours - theirs).max() <= 2
    assert np.abs(mistaken - theirs).max() > 8


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


def test_verification_catches_missing_frames_and_damage(make_video: Callable[..., Path], tmp_path: Path):
    path = make_video(frames=6)
    verify(path, 6)
    with pytest.raises(EncodeError, match="6 of 7 frames"):
        verify(path, 7)
    broken = bytearray(path.read_bytes())
    broken[len(broken) // 2 :] = bytes(len(broken) - len(broken) // 2)
    (tmp_path / "broken.mp4").write_bytes(bytes(broken))
    with pytest.raises(EncodeError, match="must decode completely"):
        verify(tmp_path / "broken.mp4", 6)
