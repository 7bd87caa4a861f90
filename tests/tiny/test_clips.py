from itertools import pairwise

import numpy as np
import pytest

from evs_batch.evaluate import psnr
from evs_batch.tiny import clips


def test_a_seed_is_a_clip_for_ever():
    scene = clips.scene(3_000_000)
    assert scene.caption == clips.scene(3_000_000).caption
    assert np.array_equal(clips.render(scene, 4), clips.render(scene, 4))
    assert np.array_equal(clips.degrade(clips.render(scene, 4), 1), clips.degrade(clips.render(scene, 4), 1))


def test_training_never_sees_what_is_measured():
    spans = [clips.TRAIN_SEEDS, clips.VALIDATION_SEEDS, clips.HELD_OUT_SEEDS]
    assert all(a.stop <= b.start for a, b in pairwise(spans))


@pytest.mark.parametrize("frames", [1, 16, 40])
def test_the_shape_stays_in_the_picture_and_moves_as_the_caption_says(frames: int):
    scene = clips.scene(3_000_004)
    first, last = clips._centre(scene, 0, frames), clips._centre(scene, frames - 1, frames)
    moved = np.subtract(last, first)
    assert all(0 < value < clips.SIZE_PX for value in (*first, *last))
    assert np.allclose(moved / max(np.abs(moved).max(), 1e-9), clips.DIRECTIONS[scene.direction]) or frames == 1


def test_degraded_clips_are_clearly_worse():
    scores = []
    for seed in clips.VALIDATION_SEEDS[:5]:
        clean = clips.render(clips.scene(seed), 8)
        scores.append(psnr(clips.degrade(clean, seed), clean))
    assert 20 < np.mean(scores) < 25


def test_every_shape_and_texture_draws_something_of_its_own():
    pictures = set()
    base = vars(clips.scene(3_000_001))
    for shape in clips.SHAPES:
        for texture in clips.TEXTURES:
            pictures.add(clips.render(clips.Scene(**{**base, "shape": shape, "texture": texture}), 1).tobytes())
    assert len(pictures) == len(clips.SHAPES) * len(clips.TEXTURES)
