"""Every hostile video has its clear outcome, in a process whose memory is limited as that of media workers is."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.hostile.child import FINE, LIMIT_S, outcome
from tests.hostile.videos import FILES

NO_VIDEO, DAMAGED, TRUNCATED = "is not a video that can be opened", "cannot be decoded", "it is truncated"
BY_FFMPEG = f"{FINE}|{DAMAGED}|{NO_VIDEO}|{TRUNCATED}"  # what exactly differs from version to version
FINE_AFTER_ALL = {  # what the file declares so is not what its frames are made by
    "mp4 of 65535 x 65535", "mp4 of no size", "avi of 2147483647 x 2147483647", "endless duration", "endless track",
    "no time scale", "times that take for ever", "four billion chunks", "a box of no size", "a box of one byte",
    "a box that is larger than the file", "data in another file",
}  # fmt: skip
OUTCOMES = {
    **dict.fromkeys(FILES, NO_VIDEO),
    **dict.fromkeys(FINE_AFTER_ALL, FINE),
    **{name: DAMAGED for name in FILES if "flipped" in name},
    **{name: TRUNCATED for name in FILES if "cut at" in name},
    **{name: BY_FFMPEG for name in FILES if "cut in the middle" in name or ", flipped" in name},
    **dict.fromkeys(("mkv, cut in the middle", "webm, cut in the middle", "avi, cut in the middle"), TRUNCATED),
    **dict.fromkeys(("cut at 99 %", "faststart, cut at 99 %"), DAMAGED),
    **dict.fromkeys(("pictures of two sizes", "webm of a wide key frame", "no parameter sets"), DAMAGED),
    **dict.fromkeys(("sound only", "sound with a cover"), "has no video stream"),
    "gif of 65535 x 65535": "pixels: must be 1 to",
    "an edit that begins in a year": "has no frames",
    "an unknown codec": "unknown codec",
    "1000 flipped bits, 4": TRUNCATED,
    "10000 flipped bits, 5": NO_VIDEO,
    **dict.fromkeys(("chunks beyond the end", "samples of four gigabytes"), TRUNCATED),
}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_video_has_a_clear_outcome(name: str, child: ProcessPoolExecutor, tmp_path: Path):
    said = child.submit(outcome, FILES[name](tmp_path)).result(LIMIT_S)
    assert any(expected in said for expected in OUTCOMES[name].split("|")), said
    assert said.isprintable()
