import math

import numpy as np
import pytest

from evs_batch.evaluate import sharpness, subject_consistency
from evs_batch.tiny import clips
from tests.conftest import stripes


def test_sharpness_of_a_ramp_is_the_square_of_its_sobel_slope():
    ramp = np.repeat(np.arange(0, 160, 10, dtype=np.uint8), 3).reshape(1, 1, 16, 3).repeat(12, axis=1)
    assert sharpness(ramp) == pytest.approx((8 * 10 / 255) ** 2, rel=1e-4)


def test_blur_takes_sharpness_and_a_flat_picture_has_none():
    video = clips.render(clips.scene(clips.VALIDATION_SEEDS[0]), 2)
    assert sharpness(clips.soften(video, 2.0)) < 0.7 * sharpness(clips.soften(video, 1.0)) < 0.7 * sharpness(video)
    assert sharpness(np.full_like(video, 90)) == pytest.approx(0, abs=1e-10)


def test_sharpness_needs_neighbours():
    with pytest.raises(ValueError, match="at least 3x3"):
        sharpness(stripes(1, 2, 8))


def test_a_subject_that_stays_is_consistent():
    assert subject_consistency(np.array([[3.0, 4.0]] * 5)) == pytest.approx(1)


def test_every_frame_is_compared_with_the_first_and_the_one_before():
    turned = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 5.0]])  # to the first: 0, 0; to the one before: 0, 1
    assert subject_consistency(turned) == pytest.approx(0.25)


def test_opposite_features_count_as_nothing_in_common():
    assert subject_consistency(np.array([[1.0, 0.0], [-1.0, 0.0]])) == 0


def test_a_single_frame_has_no_consistency_and_no_features_are_a_mistake():
    assert math.isnan(subject_consistency(np.ones((1, 4))))
    assert subject_consistency(np.zeros((3, 4))) == 0, "features without a direction"
    with pytest.raises(ValueError, match="must be"):
        subject_consistency(np.ones(4))
