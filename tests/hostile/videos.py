"""Hostile video files, each made of a real one by a few bytes, or by ffmpeg."""

import random
import struct
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import imageio_ffmpeg

from tests.conftest import ROOT

SOURCE = ROOT / "manifests" / "clips" / "with_sound.mp4"
Make = Callable[[Path], bytes]


def ffmpeg(folder: Path, name: str, *arguments: str) -> bytes:
    """What ffmpeg makes of the source."""
    out = folder / name
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-y",
        "-i",
        str(SOURCE),
        *arguments,
        "-threads",
        "1",
        str(out),
    ]
    subprocess.run(command, check=True)
    return out.read_bytes()


def as_(name: str, *arguments: str) -> Make:
    return lambda folder: ffmpeg(folder, name, *arguments)


def text(content: str) -> Make:
    return lambda _: content.format(source=SOURCE).encode()


def patched(marker: bytes, offset: int, value: bytes, make: Make | None = None) -> Make:
    """Other bytes at a distance from the first place where a marker stands."""

    def made(folder: Path) -> bytes:
        data = bytearray(make(folder) if make else SOURCE.read_bytes())
        at = data.index(marker) + offset
        data[at : at + len(value)] = value
        return bytes(data)

    return made


def cut(fraction: float, make: Make | None = None) -> Make:
    def made(folder: Path) -> bytes:
        data = make(folder) if make else SOURCE.read_bytes()
        return data[: int(len(data) * fraction)]

    return made


def flipped(seed: int, bits: int, make: Make | None = None) -> Make:
    """A file in which some bits are not as they were."""

    def made(folder: Path) -> bytes:
        rng, data = random.Random(seed), bytearray(make(folder) if make else SOURCE.read_bytes())
        for _ in range(bits):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(data)

    return made


def two_sizes(folder: Path) -> bytes:
    """A bare stream whose pictures change their size."""
    streams = (("a.h264", "64:48"), ("b.h264", "96:64"))
    return b"".join(ffmpeg(folder, name, "-an", "-vf", f"scale={size}", "-c:v", "libx264") for name, size in streams)


def nested(folder: Path) -> bytes:
    """Boxes in boxes, ten thousand deep."""
    data = b""
    for _ in range(10_000):
        data = struct.pack(">I4s", min(len(data) + 8, 2**32 - 1), b"moov") + data
    return struct.pack(">I4s", 16, b"ftyp") + b"isom\0\0\2\0" + data


MKV, AVI, TS, GIF = as_("a.mkv", "-c", "copy"), as_("a.avi"), as_("a.ts", "-c", "copy"), as_("a.gif", "-vf", "fps=5")
WEBM = as_("a.webm", "-c:v", "libvpx", "-an", "-deadline", "realtime", "-cpu-used", "8")
FAST = as_("fast.mp4", "-c", "copy", "-movflags", "+faststart")
PARTS = as_("parts.mp4", "-c", "copy", "-movflags", "+frag_keyframe+empty_moov")
OTHERS: Mapping[str, Make] = {"fragments": PARTS, "mkv": MKV, "avi": AVI, "ts": TS, "gif": GIF, "webm": WEBM}
FULL, HUGE = b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"

FILES: Mapping[str, Make] = {
    "nothing": lambda _: b"",
    "a text": text("hello, I am a text file called video.mp4\n" * 50),
    "noise": lambda _: random.Random(1).randbytes(100_000),
    "zeros": lambda _: bytes(1_000_000),
    "a picture": as_("a.png", "-frames:v", "1"),
    "a photograph": as_("a.jpg", "-frames:v", "1"),
    "a program": lambda _: Path("/bin/true").read_bytes(),
    "a web page": text("<html><script>alert(1)</script><video src='{source}'></video></html>"),
    "a playlist of this machine": text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{source}\n#EXT-X-ENDLIST\n"),
    "a playlist of the network": text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    ),
    "a playlist with a secret": text("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\nconcat:/etc/passwd|file.ts\n"),
    "a list of files": text("ffconcat version 1.0\nfile '{source}'\n"),
    "a list of addresses": text("ffconcat version 1.0\nfile 'http://127.0.0.1:9/a.mp4'\n"),
    "a session description": text("v=0\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"),
    "a manifest of DASH": text('<?xml version="1.0"?><MPD><Period><BaseURL>{source}</BaseURL></Period></MPD>'),
    "an image sequence": text("/etc/%03d.png"),
    "sound only": as_("a.m4a", "-vn", "-c", "copy"),
    "sound with a cover": as_(
        "cover.m4a", "-map", "0:a", "-map", "0:v", "-c:a", "copy", "-c:v", "png", "-frames:v", "1",
        "-disposition:v", "attached_pic", "-f", "mp4",
    ),
    "pictures of two sizes": two_sizes,
    "boxes in boxes": nested,
    **{f"cut at {percent} %": cut(percent / 100) for percent in (1, 10, 50, 90, 99)},
    **{f"faststart, cut at {percent} %": cut(percent / 100, FAST) for percent in (10, 50, 90, 99)},
    **{f"{name}, cut in the middle": cut(0.5, make) for name, make in OTHERS.items()},
    **{f"{bits} flipped bits, {seed}": flipped(seed, bits) for seed, bits in enumerate((1, 1, 10, 100, 1000, 10_000))},
    **{f"{name}, flipped bits": flipped(7, 50, make) for name, make in OTHERS.items()},
    "mp4 of 65535 x 65535": patched(b"avc1\0\0\0\0\0\0\0\1", 28, FULL),
    "mp4 of no size": patched(b"avc1\0\0\0\0\0\0\0\1", 28, bytes(4)),
    "gif of 65535 x 65535": patched(b"GIF89a", 6, FULL, GIF),
    "avi of 2147483647 x 2147483647": patched(b"strf", 12, HUGE[::-1] * 2, AVI),
    "webm of a wide key frame": patched(b"\x9d\x01\x2a", 3, b"\xff\x3f\xff\x3f", WEBM),
    "endless duration": patched(b"mvhd", 20, FULL),
    "endless track": patched(b"mdhd", 20, FULL),
    "no time scale": patched(b"mdhd", 16, bytes(4)),
    "four billion samples": patched(b"stsz", 12, FULL),
    "four billion times": patched(b"stts", 8, FULL),
    "times that take for ever": patched(b"stts", 16, HUGE),
    "four billion chunks": patched(b"stco", 8, FULL),
    "chunks beyond the end": patched(b"stco", 12, FULL),
    "four billion key frames": patched(b"stss", 8, FULL),
    "samples of four gigabytes": patched(b"stsz", 8, FULL),
    "an edit that begins in a year": patched(b"elst", 16, HUGE),
    "a box of no size": patched(b"moov", -4, bytes(4)),
    "a box that is larger than the file": patched(b"moov", -4, FULL),
    "a box of one byte": patched(b"mdat", -4, b"\0\0\0\1"),
    "data in another file": patched(b"url ", 4, b"\0\0\0\0"),
    "an unknown codec": patched(b"avc1\0\0\0\0\0\0\0\1", 0, b"xxxx"),
    "no parameter sets": patched(b"avcC", 4, bytes(30)),
}  # fmt: skip
