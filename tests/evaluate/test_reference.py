import math

import numpy as np
import pytest

from evs_batch.evaluate import REFERENCE, flicker_error, psnr, ssim
from tests.conftest import stripes


def noisy(clean_FHW3: np.ndarray, by: int = 30) -> np.ndarray:
    """The same clip with a fixed pattern of noise."""
    noise = np.arange(clean_FHW3.size).reshape(clean_FHW3.shape) * 7919 % (2 * by + 1) - by
    return np.clip(clean_FHW3 + noise, 0, 255).astype(np.uint8)


def test_psnr_follows_its_definition():
    video = np.full((2, 4, 4, 3), 100, np.uint8)
    assert psnr(video, video + 10) == pytest.approx(20 * np.log10(255 / 10), abs=1e-4)
    assert psnr(video, video) == pytest.approx(120)


def test_ssim_is_that_of_scikit_image():
    f, y, x = np.mgrid[0:2, 0:20, 0:24]
    waves = [np.sin((x + 2 * f) / 3), np.sin((y - f) / 2), np.cos((x + y) / 4)]
    clean = (127 + 90 * np.stack(waves, axis=-1)).astype(np.uint8)
    # scikit-image 0.26.0 on the luma of both, mean over frames: structural_similarity(a, b, data_range=1.0,
    # gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    assert ssim(noisy(clean), clean) == pytest.approx(0.8968802323907021, abs=1e-6)


def test_ssim_is_1_for_itself_and_falls_with_the_damage():
    clean = stripes(2, 24, 32)
    assert ssim(clean, clean) == pytest.approx(1)
    assert 1 > ssim(noisy(clean, 10), clean) > ssim(noisy(clean, 60), clean) > 0


def test_ssim_of_flat_pictures_compares_their_brightness():
    grey = np.full((1, 11, 11, 3), 100, np.uint8)
    assert ssim(grey, grey) == pytest.approx(1)
    x, y = 100 / 255, 200 / 255
    assert ssim(grey * 2, grey) == pytest.approx((2 * x * y + 1e-4) / (x * x + y * y + 1e-4), abs=1e-5)


def test_a_picture_smaller_than_the_window_is_refused():
    small = stripes(1, 10, 32)
    with pytest.raises(ValueError, match="at least 11x11"):
        ssim(small, small)


def test_a_constant_shift_is_no_flicker_and_an_alternating_one_is():
    clean = np.full((4, 8, 8, 3), 100, np.uint8)
    assert flicker_error(clean + 20, clean) == 0
    blinking = clean + np.array([0, 20, 0, 20], np.uint8)[:, None, None, None]
    assert flicker_error(blinking, clean) == pytest.approx(20 / 255, abs=1e-6)


def test_a_single_frame_cannot_flicker():
    still = stripes(1, 16, 16)
    assert math.isnan(flicker_error(still, still))


@pytest.mark.parametrize("metric", REFERENCE.values())
def test_clips_of_different_size_are_refused_with_both_sizes(metric):
    with pytest.raises(ValueError, match="3 frames of 32x24 pixels against 3 frames of 16x24 pixels"):
        metric(stripes(3, 24, 32), stripes(3, 24, 16))


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3)), np.zeros((0, 4, 4, 3), np.uint8)]
)
def test_what_is_no_video_is_refused(wrong: np.ndarray):
    with pytest.raises(ValueError, match=r"must be a \(F, H, W, 3\) uint8 video"):
        psnr(wrong, wrong)
