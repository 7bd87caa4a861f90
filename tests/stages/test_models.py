"""The shipped tiny models through the very stages that workers run."""

from typing import Any

import numpy as np
import pytest

import evs_batch
from evs_batch.bench.domain import sample
from evs_batch.evaluate import flicker_error, psnr
from evs_batch.spec.recipe import load_recipe
from evs_batch.spec.work import Clip
from evs_batch.stages.inline import load_enhancer
from evs_batch.tiny import clips

pytestmark = pytest.mark.slow
SEEDS = clips.HELD_OUT_SEEDS[500:503]
SHORT = ("t2v.window=8", "t2v.overlap=4", "runtime.frames_per_forward=8")  # a pass is always so long


def enhance(frames: np.ndarray, prompt: str, *changes: str, **given: Any) -> np.ndarray:
    return evs_batch.enhance(frames, prompt, load_recipe("demo", [*SHORT, *changes]), **given)


@pytest.fixture(scope="module")
def enhanced() -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Clean, degraded and enhanced clips of different lengths, made one by one."""
    made = {}
    for seed, frames in zip(SEEDS, (8, 5, 1), strict=True):
        clean = clips.render(clips.scene(seed), frames)
        degraded = clips.degrade(clean, seed)
        made[seed] = clean, degraded, enhance(degraded, clips.scene(seed).caption, clip_id=str(seed))
    return made


def test_enhanced_clips_are_nearer_to_the_clean_ones_and_flicker_less(enhanced):
    long = [(clean, degraded, result) for clean, degraded, result in enhanced.values() if len(clean) >= 8]
    assert np.mean([psnr(r, c) - psnr(d, c) for c, d, r in long]) > 2
    assert np.mean([flicker_error(r, c) / flicker_error(d, c) for c, d, r in long]) < 0.8


def test_a_clip_does_not_see_its_batch_mates(enhanced):
    together = load_enhancer(load_recipe("demo", SHORT))(
        [degraded for _, degraded, _ in enhanced.values()],
        [Clip(id=str(seed), uri="", prompt=clips.scene(seed).caption, seed=23) for seed in enhanced],
    )
    for (_, _, alone), batched in zip(enhanced.values(), together, strict=True):
        assert np.array_equal(alone, batched)


SMALL = ("t2v.window=4", "t2v.overlap=2", "runtime.frames_per_forward=4")


@pytest.fixture(scope="module")
def few() -> np.ndarray:
    """A few small frames."""
    return np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def result(few: np.ndarray) -> np.ndarray:
    made = enhance(few, "a star", *SMALL, clip_id="a")
    assert np.array_equal(made, enhance(few, "a star", *SMALL, clip_id="a")), "what differs is no chance"
    return made


@pytest.mark.parametrize("change", ["seed=24", "t2v.switch_at=[2]", "t2i.reentry='random'", "t2v.strength=0.5"])
def test_every_part_of_the_recipe_reaches_the_pixels(change: str, few: np.ndarray, result: np.ndarray):
    assert not np.array_equal(result, enhance(few, "a star", *SMALL, change, clip_id="a"))


def test_prompt_and_id_reach_the_pixels(few: np.ndarray, result: np.ndarray):
    assert not np.array_equal(result, enhance(few, "a red circle", *SMALL, clip_id="a"))
    assert not np.array_equal(result, enhance(few, "a star", *SMALL, clip_id="other"))
    assert not np.array_equal(result, enhance(few, "a star", *SMALL, clip_id="a", seed=5))


def test_any_size_comes_back_and_upscaling_doubles_it():
    frames = np.random.default_rng(0).integers(0, 255, (3, 34, 53, 3), dtype=np.uint8)
    assert enhance(frames, "noise").shape == (3, 34, 53, 3)
    assert enhance(frames, "noise", "t2i.upscale=2.0").shape == (3, 68, 106, 3)
    assert enhance(frames, "noise", "t2i.upscale=1.3").shape == (3, 44, 69, 3)


def test_upscaled_clips_are_nearer_to_originals_of_their_size_than_bicubic_ones():
    gains = []
    for s in (sample(seed, scale=2) for seed in SEEDS[:1]):
        result = enhance(s.degraded[:8], s.clip.prompt, "t2i.upscale=2.0")
        gains.append(psnr(result, s.clean[:8]) - psnr(s.source[:8], s.clean[:8]))
    assert np.mean(gains) > 1


def test_the_few_step_t2v_is_nearer_to_many_steps_than_its_teacher_in_as_few():
    samples = [sample(seed) for seed in SEEDS[:1]]

    def made(model: str, steps: int) -> list[np.ndarray]:
        settings = ["composition='T2V'", f"t2v.model='{model}'", f"t2v.steps={steps}", "t2v.strength=0.5", *SHORT]
        return load_enhancer(load_recipe("demo", settings))(
            [s.degraded[:8] for s in samples], [s.clip for s in samples]
        )

    many, few, student = made("tiny", 40), made("tiny", 4), made("tiny-lightning", 4)
    print(f"PSNR to 40 steps: student {nearness(student, many):.2f} dB, teacher in as few {nearness(few, many):.2f} dB")
    assert nearness(student, many) > nearness(few, many) + 0.5


def nearness(some: list[np.ndarray], others: list[np.ndarray]) -> float:
    """Mean PSNR of clips to others, dB."""
    return float(np.mean([psnr(a, b) for a, b in zip(some, others, strict=True)]))
