import numpy as np
import pytest

from evs_batch.evaluate import flicker_error, psnr, sharpness

CLEAN = (np.random.default_rng(0).random((5, 16, 16, 3)) * 255).astype(np.uint8)


def test_psnr_follows_its_definition():
    video = np.full((2, 4, 4, 3), 100, np.uint8)
    assert psnr(video, video + 10) == pytest.approx(20 * np.log10(255 / 10), abs=1e-4)


def test_a_constant_shift_is_no_flicker_and_an_alternating_one_is():
    clean = np.full((4, 8, 8, 3), 100, np.uint8)
    assert flicker_error(clean + 20, clean) == 0
    blinking = clean + np.array([0, 20, 0, 20], np.uint8)[:, None, None, None]
    assert flicker_error(blinking, clean) == pytest.approx(20 / 255, abs=1e-6)


def test_a_clip_is_as_sharp_as_itself_and_blur_is_less():
    blurred = ((CLEAN[:, 1:, 1:].astype(int) + CLEAN[:, :-1, :-1]) // 2).astype(np.uint8)
    assert sharpness(CLEAN, CLEAN) == pytest.approx(1)
    assert sharpness(blurred, CLEAN[:, 1:, 1:]) < 0.7
