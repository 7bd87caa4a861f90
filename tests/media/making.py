"""Makes the files of `cases.py` with ffmpeg."""

import shlex
import subprocess
from pathlib import Path

import imageio_ffmpeg

from tests.media.case import X264, Case, video

TIMEOUT_S = 60
SUBTITLES = "1\n00:00:00,100 --> 00:00:00,400\nHello\n\n2\n00:00:00,500 --> 00:00:00,900\n<i>Bye</i>\n"
OVERLAPPING = "1\n00:00:00,100 --> 00:00:00,600\nOne\n\n2\n00:00:00,100 --> 00:00:00,900\nTwo\n"
CHAPTERS = (
    ";FFMETADATA1\ntitle=A film\nartist=Somebody\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=One\n"
    "[CHAPTER]\nTIMEBASE=1/1000\nSTART=400\nEND=1000\ntitle=Two\n"
)


def make(case: Case, folder: Path) -> Path:
    """The file of a case, in a folder."""
    names = (
        "subtitles.srt overlapping.srt chapters.txt font.ttf base.mp4 picture.jpg other.mp4 early.ts late.ts parts%d.ts"
    )
    files = {name.partition(".")[0].rstrip("%d"): folder / name for name in names.split()}
    files["subtitles"].write_text(SUBTITLES)
    files["overlapping"].write_text(OVERLAPPING)
    files["chapters"].write_text(CHAPTERS)
    files["font"].write_bytes(bytes([0, 1, 0, 0]) * 100)
    if "{base}" in case.make:
        ffmpeg(f"{video()} {X264}", files["base"])
    if "{picture}" in case.make:
        ffmpeg("-f lavfi -i color=red:size=32x32 -frames:v 1", files["picture"])
    path = folder / case.name
    for command in case.make.split(" ;; "):
        named = command.format(**files) if "{" in command else command
        ffmpeg(named, *([] if command.endswith(("{other}", "{early}", "{late}", "{parts}")) else [path]))
    if "cut" in case.facts:
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * case.facts["cut"])])
    return path


def ffmpeg(arguments: str, *out: Path) -> None:
    words = [*shlex.split(arguments), *(word for path in out for word in ("-threads", "1", str(path)))]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *words]
    subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
