import math

import numpy as np
import pytest

from evs_batch.evaluate import acutance
from evs_batch.tiny import clips

CLEAN = clips.render(clips.scene(1), 2)


def test_acutance_is_1_for_itself_and_falls_with_blur():
    assert acutance(CLEAN, CLEAN) == pytest.approx(1)
    assert 0.8 > acutance(clips.soften(CLEAN, 0.7), CLEAN) > acutance(clips.soften(CLEAN, 1.5), CLEAN) > 0.2


def test_a_ramp_half_as_steep_has_half_the_acutance():
    steep = np.zeros((1, 16, 40, 3), np.uint8) + np.arange(0, 160, 4, np.uint8)[None, None, :, None]
    assert acutance(steep // 2, steep) == pytest.approx(0.5, abs=0.01)
    assert acutance(steep[:, :, ::-1], steep) == 0, "a slope the other way is another edge"


def test_an_edge_that_moved_a_little_is_as_sharp():
    assert acutance(np.roll(CLEAN, 2, axis=2), CLEAN) == pytest.approx(1, abs=0.05)
    assert acutance(np.roll(CLEAN, 9, axis=2), CLEAN) < 0.8


def test_blotches_are_no_sharpness():
    step = np.where(np.arange(64) < 32, 60, 180).astype(np.uint8)[None, None, :, None] * np.ones(
        (1, 64, 1, 3), np.uint8
    )
    wave = np.sin(np.arange(64) / 3)[None, :, None, None]
    blotched = np.clip(step + 15 * wave, 0, 255).astype(np.uint8)
    assert acutance(blotched, step) == pytest.approx(1, abs=0.02)
    assert acutance(clips.soften(blotched, 1.5), step) == pytest.approx(
        acutance(clips.soften(step, 1.5), step), abs=0.02
    )


def test_a_flat_clip_has_no_edges_to_compare():
    flat = np.full((1, 8, 8, 3), 90, np.uint8)
    assert math.isnan(acutance(flat, flat))


def test_acutance_needs_neighbours():
    with pytest.raises(ValueError, match="at least 3x3"):
        acutance(CLEAN[:, :2], CLEAN[:, :2])
