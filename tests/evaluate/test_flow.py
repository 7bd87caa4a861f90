import math
import sys

import numpy as np
import pytest

from evs_batch.evaluate import warping_error
from evs_batch.evaluate.flow import INSTALL
from evs_batch.tiny import clips
from tests.conftest import stripes


def blinking(video_FHW3: np.ndarray, by: int = 30) -> np.ndarray:
    """Every other frame brighter."""
    dark = np.clip(video_FHW3, 0, 255 - by)
    return dark + np.where(np.arange(len(dark)) % 2, by, 0).astype(np.uint8)[:, None, None, None]


def test_a_motion_is_followed():
    wide_HW3 = stripes(1, 48, 80)[0]
    panned = np.stack([wide_HW3[:, 3 * f : 3 * f + 64] for f in range(4)])
    unmoved = np.mean(np.diff(panned / 255, axis=0) ** 2)
    assert warping_error(panned) < unmoved / 10


def test_flicker_is_the_error_that_is_left_after_the_motion():
    still = np.repeat(stripes(1, 48, 64), 4, axis=0)
    clipped = np.clip(still, 0, 225)
    assert warping_error(clipped) == 0
    assert warping_error(blinking(still), clipped) == pytest.approx((30 / 255) ** 2, rel=1e-3)


def test_damage_of_single_frames_counts_against_a_clip():
    seed = clips.VALIDATION_SEEDS[0]
    clean = clips.render(clips.scene(seed), 3)
    damaged = clips.degrade(clean, seed)
    assert warping_error(damaged) > 10 * warping_error(clean)
    assert warping_error(damaged, damaged) > warping_error(clean, damaged), "by the motion of the damaged source"


def test_the_motion_may_come_from_a_smaller_source():
    large = stripes(3, 64, 96)
    y, x = np.mgrid[0:32, 0:48]
    small = large[:, 2 * y, 2 * x]
    assert warping_error(large, small) < 1e-3


def test_flat_frames_have_no_error_and_a_single_one_no_value():
    flat = np.full((3, 16, 16, 3), 80, np.uint8)
    assert warping_error(flat) == 0
    assert math.isnan(warping_error(flat[:1]))


@pytest.mark.parametrize(
    ("video", "source", "said"),
    [
        (stripes(2, 15, 64), None, "at least 16x16"),
        (stripes(3, 16, 16), stripes(2, 16, 16), "must be as many frames"),
        (stripes(2, 16, 16).astype(float), None, "must be a"),
    ],
)
def test_videos_without_a_flow_are_refused(video: np.ndarray, source: np.ndarray | None, said: str):
    with pytest.raises(ValueError, match=said):
        warping_error(video, source)


def test_without_opencv_the_way_to_get_it_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match="needs OpenCV") as caught:
        warping_error(stripes(2, 16, 16))
    assert INSTALL in str(caught.value)
