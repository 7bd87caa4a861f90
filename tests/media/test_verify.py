"""What is read again before it is published, and colours on their way there and back."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from evs_batch.media.decode import decode
from evs_batch.media.encode import encode
from evs_batch.media.probe import probe
from evs_batch.media.verify import verify
from evs_batch.spec.errors import EncodeError
from evs_batch.spec.recipe import Output
from evs_batch.spec.video import constant_rate
from tests.media.test_media import ffmpeg, film, through

__all__ = ["film"]


def test_verification_catches_missing_frames_and_damage(make_video: Callable[..., Path], tmp_path: Path):
    path, facts = make_video(frames=6), constant_rate(6, 32, 48, Fraction(25))
    verify(path, facts)
    with pytest.raises(EncodeError, match="6 of 7 frames"):
        verify(path, constant_rate(7, 32, 48, Fraction(25)))
    with pytest.raises(EncodeError, match=r"is 0\.240 s of 0\.280"):
        verify(path, replace(facts, durations=(*facts.durations[:-1], 2)))
    with pytest.raises(EncodeError, match=r"frame 5 .* 0\.033 s late or early"):
        verify(path, constant_rate(6, 32, 48, Fraction(30)))
    broken = bytearray(path.read_bytes())
    broken[len(broken) // 2 :] = bytes(len(broken) - len(broken) // 2)
    (tmp_path / "broken.mp4").write_bytes(bytes(broken))
    with pytest.raises(EncodeError, match="must decode completely"):
        verify(tmp_path / "broken.mp4", facts)


def test_verification_compares_every_track_with_the_source(film: Path, tmp_path: Path):
    with film.open("rb") as file:
        facts = probe(file)
        frames = decode(file, facts)
        file.seek(0)
        written = encode(tmp_path / "out.mp4", frames, facts, Output(), file)
    verify(tmp_path / "out.mp4", facts, written)
    (track,) = written.tracks
    for wrong, said in (
        ([track, track], "1 of 2 tracks"),
        ([replace(track, wrapped=True, packets=track.packets + 1)], r"audio track 1 .* \d+ of \d+ packets"),
        ([replace(track, begin_s=0.5)], r"audio track 1 .* 0\.5\d\d s late or early"),
        ([replace(track, crc=0)], "audio track 1 .* must be the source's"),
        ([replace(track, kind="subtitle")], "subtitle track 1 .* must be there"),
    ):
        with pytest.raises(EncodeError, match=said):
            verify(tmp_path / "out.mp4", facts, replace(written, tracks=wrong))
    for other, said in (
        (replace(facts, aspect=Fraction(2)), "pixel aspect of the encoded file: 1: must be 2"),
        (replace(facts, matrix=9), "matrix of the encoded file"),
        (replace(facts, chapters=3), "the encoded file has 0 chapters"),
    ):
        with pytest.raises(EncodeError, match=said):
            verify(tmp_path / "out.mp4", other, written)
    with pytest.raises(EncodeError, match="size of the encoded file: 130x98: must be 130x66"):
        verify(tmp_path / "out.mp4", facts, replace(written, height=66))


PATCHES = np.array(
    [
        [255, 255, 255],
        [0, 0, 0],
        [128, 128, 128],
        [220, 30, 30],
        [30, 200, 40],
        [20, 40, 220],
        [230, 220, 20],
        [90, 60, 30],
    ]
)


@pytest.mark.parametrize("range_", ["tv", "pc"])
@pytest.mark.parametrize(
    ("matrix", "pixels"),
    [("bt709", "yuv420p"), ("bt601", "yuv420p"), ("bt709", "yuv444p10le"), ("bt2020", "yuv420p10le")],
)
def test_flat_patches_come_back_within_two_levels(matrix: str, range_: str, pixels: str, tmp_path: Path):
    """Through ffmpeg's encoder, our decoder and encoder, and ffmpeg's decoder."""
    picture = PATCHES.astype(np.uint8).repeat(32, 0).reshape(1, -1, 3).repeat(64, 0)
    raw, source = tmp_path / "a.rgb", tmp_path / "a.mkv"
    raw.write_bytes(picture.tobytes() * 3)
    ffmpeg(
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "256x64", "-r", "25", "-i", str(raw), "-vf",
        f"scale=out_color_matrix={matrix}:out_range={range_}:flags=accurate_rnd+full_chroma_int,format={pixels}",
        "-c:v", "ffv1", "-color_range", range_, str(source),
    )  # fmt: skip
    facts, _, frames = through(source, tmp_path / "out.mp4")
    assert facts.full_range == (range_ == "pc")
    shown = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "out.mp4"), "-frames:v", "1",
         "-sws_flags", "accurate_rnd+full_chroma_int", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    for found in (frames[0], np.frombuffer(shown, np.uint8).reshape(64, 256, 3)):
        middles = found[16:48, 16::32].astype(int)
        assert np.abs(middles - PATCHES).max() <= 2
