import math

import numpy as np
import pytest

from evs_batch.evaluate import motion_error
from evs_batch.evaluate.motion import sample
from evs_batch.tiny import clips
from tests.conftest import stripes

FRAMES = 4


def known_motion(scene: clips.Scene) -> tuple[np.ndarray, np.ndarray]:
    """Sources and masks of all frames of a synthetic clip; those of frame 0 are empty."""
    motions = [clips.backward_motion(scene, f, FRAMES) for f in range(1, FRAMES)]
    sources, inside = (np.stack(arrays) for arrays in zip(*motions, strict=True))
    return np.concatenate([0 * sources[:1], sources]), np.concatenate([inside[:1] & False, inside])


def test_a_picture_that_shifts_is_found_where_it_was():
    picture_HW3 = stripes(1, 24, 32)[0]
    video = np.stack([np.roll(picture_HW3, f, axis=1) for f in range(3)])
    y, x = np.mgrid[0:24, 0:32]
    sources = np.broadcast_to(np.stack([x - 1, y], -1), (3, 24, 32, 2))
    inside = np.broadcast_to(x > 0, (3, 24, 32))
    assert motion_error(video, sources, inside) == 0
    assert motion_error(video, sources, np.ones_like(inside)) > 0, "the first column came from the other side"


@pytest.mark.parametrize("seed", clips.VALIDATION_SEEDS[:3])
def test_clean_clips_keep_to_their_motion_and_damaged_ones_do_not(seed: int):
    scene = clips.scene(seed)
    clean, motion = clips.render(scene, FRAMES), known_motion(scene)
    kept, lost = motion_error(clean, *motion), motion_error(clips.degrade(clean, seed), *motion)
    assert kept < 0.02
    assert lost > 0.05


def test_between_pixels_the_sample_is_bilinear_and_outside_the_border_goes_on():
    picture = np.array([[0.0, 1.0], [2.0, 3.0]])[..., None]
    at = np.array([[[0.5, 0.5], [1.0, 0.25], [-4.0, 0.0], [9.0, 9.0]]])
    assert sample(picture, at)[0, :, 0] == pytest.approx([1.5, 1.5, 0, 3])


def test_a_single_frame_or_an_empty_mask_has_nothing_to_compare():
    video = stripes(2, 8, 8)
    sources, inside = np.zeros((2, 8, 8, 2)), np.zeros((2, 8, 8), bool)
    assert math.isnan(motion_error(video, sources, inside))
    assert math.isnan(motion_error(video[:1], sources[:1], ~inside[:1]))


def test_a_motion_of_another_size_is_refused():
    with pytest.raises(ValueError, match="do not fit a video"):
        motion_error(stripes(2, 8, 8), np.zeros((1, 8, 8, 2)), np.ones((2, 8, 8), bool))
