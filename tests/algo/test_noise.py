import torch

from evs_batch.algo.noise import frame_noise

SHAPE = (4, 8, 8)


def test_a_frame_has_its_noise_whatever_comes_with_it():
    whole = frame_noise(23, "a", "t2i/0", range(10), SHAPE)
    assert torch.equal(whole[4:7], frame_noise(23, "a", "t2i/0", range(4, 7), SHAPE))


def test_seed_clip_purpose_and_frame_each_change_the_noise():
    base = frame_noise(23, "a", "t2i/0", range(1), SHAPE)
    others = [
        (24, "a", "t2i/0", range(1)),
        (23, "b", "t2i/0", range(1)),
        (23, "a", "t2v/0", range(1)),
        (23, "a", "t2i/0", range(1, 2)),
    ]
    assert all((frame_noise(*other, SHAPE) - base).abs().mean() > 0.5 for other in others)


def test_noise_is_standard_normal_and_the_same_for_ever():
    sample = frame_noise(1, "clip", "t2i/0", range(64), SHAPE)
    assert abs(sample.mean()) < 0.02
    assert abs(sample.std() - 1) < 0.02
    assert torch.allclose(sample[0, 0, 0, :3], torch.tensor([1.643822, 1.303417, 0.566481]), atol=1e-5)
