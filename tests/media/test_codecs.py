"""Every codec in every container: pictures, timestamps, colours and sound come out, whole and from parts."""

import errno
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from evs_batch.evaluate import psnr
from evs_batch.media import encoders
from evs_batch.media.decode import decode
from evs_batch.media.encode import encode, join
from evs_batch.media.encoders import RGB, pixel_format
from evs_batch.media.mux import Written
from evs_batch.media.probe import probe
from evs_batch.media.verify import verify
from evs_batch.spec.codecs import CODECS, PRESETS
from evs_batch.spec.errors import RecipeError
from evs_batch.spec.recipe import Output, parse_recipe
from evs_batch.spec.video import VideoFacts, constant_rate
from tests.conftest import stripes
from tests.media.test_media import audio_packets

FRAMES, BT709 = 12, 1
RATE = Fraction(30000, 1001)
MATROSKA_S = 0.0005  # its clock counts milliseconds
VIDEO = [codec for codec in CODECS if CODECS[codec].containers != ("zip",)]
RGB_CODECS = {"ffv1"}  # that have no matrix
PAIRS = [(codec, container) for codec in VIDEO for container in CODECS[codec].containers]


def facts(height: int = 64, width: int = 96) -> VideoFacts:
    colours = {"matrix": BT709, "primaries": BT709, "transfer": BT709}
    return replace(constant_rate(FRAMES, height, width, RATE), aspect=Fraction(4, 3), **colours)


def read(path: Path) -> tuple[VideoFacts, np.ndarray]:
    with path.open("rb") as file:
        found = probe(file)
        file.seek(0)
        return found, decode(file, found)


def assert_same(path: Path, expected: VideoFacts, written: Written, codec: str, container: str) -> np.ndarray:
    verify(path, expected, written)
    found, frames = read(path)
    seconds = [float(pts * found.time_base - expected.pts[at] * expected.time_base) for at, pts in enumerate(found.pts)]
    assert max(map(abs, seconds)) <= (MATROSKA_S if container == "mkv" else 0)
    assert found.tags == expected.tags or (codec in RGB_CODECS and found.tags[1:] == expected.tags[1:])
    assert found.aspect == expected.aspect
    assert found.fps == pytest.approx(expected.fps, rel=1e-5)
    return frames


@pytest.mark.parametrize(("codec", "container"), PAIRS)
def test_a_video_comes_out_whole_and_from_parts(codec: str, container: str, tmp_path: Path, make_video: Callable):
    frames, options = stripes(FRAMES, 64, 96), Output(codec=codec, container=container, preset="draft")
    path = tmp_path / f"whole.{container}"
    whole = assert_same(path, facts(), encode(path, frames, facts(), options), codec, container)
    assert psnr(whole, frames) > 33
    parts = [tmp_path / f"{number}.{container}" for number in range(3)]
    for part, (start, stop) in zip(parts, [(0, 1), (1, 7), (7, FRAMES)], strict=True):
        encode(part, frames[start:stop], facts().part(range(start, stop)).from_zero(), options)
    out = tmp_path / f"out.{container}"
    with make_video().open("rb") as silent:
        written = join(out, (part.open("rb") for part in parts), facts(), options, silent)
    assert (written.height, written.width) == (64, 96)
    assert psnr(assert_same(out, facts(), written, codec, container), frames) > 33
    with av.open(str(out)) as joined, av.open(str(tmp_path / f"whole.{container}")) as at_once:
        tags = [file.streams.video[0].codec_context.codec_tag for file in (joined, at_once)]
        assert tags[0] == tags[1]
        assert tags[0] == "hvc1" or (codec, container) not in {("hevc", "mp4"), ("hevc", "mov")}, (
            "as Apple's players ask"
        )
        decoded = [packet.dts for packet in joined.demux(video=0) if packet.dts is not None and packet.dts > packet.pts]
    assert not decoded, "before it is shown"


@pytest.mark.parametrize(("codec", "container"), PAIRS)
def test_a_video_has_the_same_bytes_every_time(codec: str, container: str, tmp_path: Path):
    written = set()
    for number in range(3):
        rubbish = [np.full(50_000 + number, number, np.uint8) for _ in range(20)]  # where frames will be
        del rubbish
        path, options = tmp_path / f"{number}.{container}", Output(codec=codec, container=container)
        encode(path, stripes(FRAMES, 66, 98), facts(66, 98), options)
        written.add(path.read_bytes())
    assert len(written) == 1


@pytest.mark.parametrize("codec", VIDEO)
@pytest.mark.parametrize("preset", PRESETS)
def test_encoders_hold_back_as_many_frames_as_the_table_says(codec: str, preset: str, tmp_path: Path):
    container = CODECS[codec].containers[0]
    path, options = tmp_path / f"a.{container}", Output(codec=codec, container=container, preset=preset)
    encode(path, stripes(FRAMES, 64, 96), facts(), options)
    with av.open(str(path)) as file:
        stamps = [packet.pts for packet in file.demux(video=0) if packet.size]
    rank = {pts: at for at, pts in enumerate(sorted(stamps))}
    assert max(number - rank[pts] for number, pts in enumerate(stamps)) == CODECS[codec].held_back


@pytest.mark.parametrize(("codec", "wanted"), [(codec, wanted) for codec in VIDEO for wanted in CODECS[codec].pixels])
def test_pixel_formats_are_the_recipes(codec: str, wanted: str, tmp_path: Path):
    container = CODECS[codec].containers[0]
    path = tmp_path / f"a.{container}"
    options = Output(codec=codec, container=container, pixel_format=wanted, preset="draft")
    encode(path, stripes(2, 64, 96), replace(facts(), pts=(0, 1001), durations=(1001, 1001)), options)
    with av.open(str(path)) as file:
        found = str(file.streams.video[0].pix_fmt)
    assert found == (wanted.replace("444p10", "444p12") if codec == "prores" else wanted), "its decoder gives 12 bits"


@pytest.mark.parametrize("codec", [codec for codec in VIDEO if CODECS[codec].lossy_to])
def test_presets_and_quality_change_what_the_encoder_makes(codec: str, tmp_path: Path):
    frames = np.random.default_rng(0).integers(0, 255, (FRAMES, 8, 12, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    made = []
    for options in ({}, {"preset": "draft"}, {"preset": "archive"}, {"quality": 40}):
        encode(tmp_path / "a.mp4", frames, facts(), Output(codec=codec, **options))
        made.append((tmp_path / "a.mp4").read_bytes())
    assert len(set(made)) == 4
    assert len(made[3]) < len(made[0])


def test_ffv1_loses_nothing(tmp_path: Path):
    frames = np.random.default_rng(0).integers(0, 255, (FRAMES, 33, 47, 3), np.uint8)
    encode(tmp_path / "a.mkv", frames, facts(33, 47), Output(codec="ffv1", container="mkv"))
    assert np.array_equal(read(tmp_path / "a.mkv")[1], frames)


def test_ten_bits_make_fewer_steps_in_a_gradient(tmp_path: Path):
    ramp = np.linspace(60, 70, 96)[None, None, :, None]
    frames = np.round(np.broadcast_to(ramp, (FRAMES, 64, 96, 3))).astype(np.uint8)
    errors = []
    for wanted in ("yuv444p", "yuv444p10le"):
        encode(tmp_path / "a.mp4", frames, facts(), Output(pixel_format=wanted, quality=1))
        errors.append(np.abs(read(tmp_path / "a.mp4")[1].astype(int) - frames).mean())
    assert errors[1] < errors[0]


@pytest.mark.parametrize("codec", CODECS)
def test_odd_sides_are_whole_or_refused_before_any_work(codec: str):
    options = Output(codec=codec, container=CODECS[codec].containers[0])
    if codec == "av1":
        with pytest.raises(RecipeError, match="must have even sides"):
            pixel_format(options, 65, 95)
    else:
        assert "444" in pixel_format(options, 65, 95) or pixel_format(options, 65, 95) in RGB


def test_hardware_encodes_where_there_is_some(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    encoders._present.cache_clear()
    options = Output(codec="hevc", encoder="hardware", quality=20)
    codec, _ = encoders.pick(options)
    if codec.encoder == "libx265":
        assert codec.by_program
        assert "no hardware encoder for hevc" in caplog.text
    monkeypatch.setattr(encoders, "_present", lambda codec: f"{codec}_nvenc")
    codec, settings = encoders.pick(options)
    assert (codec.encoder, codec.by_program, settings["cq"]) == ("hevc_nvenc", False, "20")
    assert encoders.pick(options.model_copy(update={"encoder": "software"}))[0].encoder == "libx265"


def test_an_encoder_that_the_machine_has_not_got_is_not_present(monkeypatch: pytest.MonkeyPatch):
    for name, present in (("libx264", "libx264"), ("nothing_like_it", "")):
        encoders._present.cache_clear()
        monkeypatch.setitem(CODECS, "h264", replace(CODECS["h264"], hardware=(name,)))
        assert encoders._present("h264") == present
    encoders._present.cache_clear()


def test_small_pictures_are_refused_by_an_encoder_that_does_not_take_them():
    with pytest.raises(RecipeError, match="64 pixels or more"):
        pixel_format(Output(codec="av1"), 32, 64)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ({"codec": "ffv1"}, "output.container = 'mkv'"),
        ({"codec": "vp9", "container": "mov"}, "output.container = 'mp4'"),
        ({"codec": "av1", "pixel_format": "yuv444p"}, "yuv420p10le"),
        ({"quality": 60}, "at most 51"),
        ({"codec": "h265"}, "output.codec"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_does(output: dict, said: str):
    with pytest.raises(RecipeError, match=said):
        parse_recipe({"composition": "identity", "output": output})


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_sound_is_copied_into_every_container(container: str, tmp_path: Path, root: Path):
    source = root / "manifests" / "clips" / "with_sound.mp4"
    found, frames = read(source)
    with source.open("rb") as file:
        encode(tmp_path / f"a.{container}", frames, found, Output(container=container), file)
    copied, original = audio_packets(tmp_path / f"a.{container}"), audio_packets(source)
    assert [data for _, data in copied] == [data for _, data in original]
    begin_s, of_source_s = (first_s(path) for path in (tmp_path / f"a.{container}", source))
    assert begin_s == pytest.approx(of_source_s, abs=MATROSKA_S), "in step, and where it was"


def first_s(path: Path) -> tuple[float, float]:
    """When pictures and sound begin."""
    with av.open(str(path)) as file:
        packets = [(p.stream.type, float(p.pts * p.time_base)) for p in file.demux() if p.pts is not None]
    first = {kind: min(at_s for of, at_s in packets if of == kind) for kind in ("video", "audio")}
    return first["video"], first["audio"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_not_the_fault_of_a_video():
    with pytest.raises(OSError, match="No space left") as raised:
        encoders.by_program(Path("/dev/full"), stripes(FRAMES, 64, 96), facts(), Output(codec="hevc"))
    assert raised.value.errno == errno.ENOSPC
