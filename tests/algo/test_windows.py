import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evs_batch.algo.windows import plan_windows, reflect, windowed


def identity(z_WKChw, t, clip_of_window):
    return z_WKChw


@given(st.integers(1, 120), st.integers(2, 32), st.data())
def test_windows_cover_every_frame_of_every_clip(frames: int, width: int, data):
    overlap = data.draw(st.integers(0, width - 1))
    windows = plan_windows(frames, width, overlap)
    weight = torch.zeros(frames)
    for window in windows:
        assert len(window.frames_K) == width
        weight.index_add_(0, window.frames_K, window.weights_K)
    assert (weight > 0).all()


@given(st.lists(st.integers(1, 50), min_size=1, max_size=4))
def test_a_model_that_changes_nothing_stays_so_under_windows(lengths: list[int]):
    z = torch.randn(sum(lengths), 2, 2, 2)
    assert torch.allclose(windowed(identity, lengths, 16, 8)(z, torch.tensor(0)), z, atol=1e-6)


def test_windows_never_mix_clips():
    def mean_of_window(z_WKChw, t, clip_of_window):
        return z_WKChw.mean(1, keepdim=True).expand_as(z_WKChw)

    z = torch.cat([torch.zeros(20, 1, 1, 1), torch.ones(5, 1, 1, 1)])
    out = windowed(mean_of_window, [20, 5], 16, 8)(z, torch.tensor(0))
    assert torch.allclose(out, z)


def test_a_short_clip_is_reflected_and_its_copies_do_not_count():
    window = plan_windows(3, 8, 4)[0]
    assert window.frames_K.tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert window.weights_K.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("length", "expected"), [(1, [0, 0, 0, 0, 0]), (2, [0, 1, 0, 1, 0]), (4, [0, 1, 2, 3, 2])])
def test_reflection_does_not_repeat_the_ends(length: int, expected: list[int]):
    assert reflect(torch.arange(5), length).tolist() == expected


def test_the_blend_is_a_ramp_over_the_overlap():
    def number_of_window(z_WKChw, t, clip_of_window):
        return torch.arange(len(z_WKChw)).float()[:, None, None, None, None].expand_as(z_WKChw)

    out = windowed(number_of_window, [24], 16, 8)(torch.zeros(24, 1, 1, 1), torch.tensor(0)).flatten()
    assert out[:8].tolist() == [0] * 8
    assert torch.allclose(out[8:16], torch.arange(1, 9) / 9)
    assert out[16:].tolist() == [1] * 8
