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


def test_a_scene_is_the_same_at_twice_the_size():
    scene = clips.scene(3_000_002)
    small, large = clips.render(scene, 2), clips.render(scene, 2, scale=2)
    assert large.shape == (2, 2 * clips.SIZE_PX, 2 * clips.SIZE_PX, 3)
    halved = large.reshape(2, clips.SIZE_PX, 2, clips.SIZE_PX, 2, 3).mean(axis=(2, 4))
    assert psnr(halved.round().astype(np.uint8), small) > 35


def test_what_the_known_motion_says_is_what_is_drawn():
    scene = clips.scene(3_000_005)
    source, inside = clips.backward_motion(scene, 5, 16)
    assert 0.5 < inside.mean() < 1
    x, y = np.round(source).astype(int).clip(0, clips.SIZE_PX - 1).transpose(2, 0, 1)
    now, before = clips.draw(scene, 5, 16).astype(float), clips.draw(scene, 4, 16).astype(float)
    moved = np.abs(source - np.stack(np.meshgrid(*[np.arange(clips.SIZE_PX)] * 2), -1)).max(-1) > 0.5
    figure = inside & moved
    assert figure.sum() > 500
    assert np.abs(now - before[y, x])[figure].mean() < 0.5 * np.abs(now - before)[figure].mean()


def test_a_watercolor_is_paler_and_stands_still_where_the_clip_does():
    clip = clips.render(clips.scene(3_000_006), 4)
    painted = clips.watercolor(clip)
    assert painted.shape == clip.shape
    assert painted.mean() > clip.mean() + 20
    assert np.array_equal(clips.watercolor(clip[:1]), painted[:1]), "frames are painted one by one"


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
