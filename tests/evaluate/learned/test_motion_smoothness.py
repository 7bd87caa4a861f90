import math

import numpy as np
import pytest
import torch

from evs_batch.evaluate.learned import LEARNED
from evs_batch.evaluate.learned.motion_smoothness import MIN_SIDE_PX, margins, motion_smoothness
from evs_batch.evaluate.learned.networks.amt import AMT, Matches, warp
from evs_batch.spec.errors import MediaError
from tests.conftest import stripes

VIDEO = stripes(5, 120, 131)


def levels(*values: int) -> np.ndarray:
    """A video whose frames have one level each."""
    return np.tile(np.array(values, np.uint8)[:, None, None, None], (1, 20, 36, 3))


def average(left, right):
    return (left + right) / 2


def test_the_score_of_a_video_is_in_its_range_and_always_the_same(write_weights):
    metric = LEARNED["motion_smoothness"](write_weights(AMT(), "amt-s.safetensors"))
    score = metric(VIDEO)
    assert 0 < score < 1
    assert metric(VIDEO) == score


def test_a_video_that_its_neighbours_foretell_is_perfectly_smooth():
    assert motion_smoothness(levels(10, 20, 30, 40, 50), average) == 1
    assert motion_smoothness(levels(7, 7, 7), average) == 1


def test_the_score_falls_by_the_mean_difference_of_odd_frames_in_levels():
    assert motion_smoothness(levels(0, 255, 0), average) == 0
    assert motion_smoothness(levels(10, 20, 10, 40, 10), average) == pytest.approx(1 - np.mean([10, 30]) / 255)


def test_foretold_levels_are_cut_off_and_not_rounded():
    assert motion_smoothness(levels(10, 10, 11), average) == 1
    assert motion_smoothness(levels(10, 11, 11), average) == pytest.approx(254 / 255)


def test_a_last_frame_without_a_right_neighbour_is_not_judged():
    assert motion_smoothness(levels(10, 10, 10, 255), average) == 1


def test_the_network_sees_multiples_of_16_and_the_padding_is_not_judged():
    def spoilt_padding(left, right):
        assert left.shape == right.shape == (1, 3, 32, 48)
        assert (left == 10 / 255).all()  # the border goes on
        between = torch.ones(1, 3, 32, 48)
        between[..., 6:26, 6:42] = 10 / 255
        return between

    assert motion_smoothness(levels(10, 200, 10), spoilt_padding) == pytest.approx(65 / 255)
    assert margins(17, 33) == (7, 8, 7, 8)


def test_without_flow_the_network_blends_both_neighbours():
    network = AMT().eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        left, right = torch.rand(2, 1, 3, 128, 128)
        torch.testing.assert_close(network(left, right), (left + right) / 2, atol=1e-4, rtol=0)


def test_a_flow_says_where_to_read_from():
    x = torch.arange(8.0).expand(1, 1, 6, 8)
    flow = torch.zeros(1, 2, 6, 8)
    flow[:, 0] = 2
    torch.testing.assert_close(warp(x, flow)[0, 0, 0], torch.tensor([2.0, 3, 4, 5, 6, 7, 7, 7]))
    torch.testing.assert_close(warp(x.mT, flow.mT.flip(1))[0, 0, :, 0], torch.tensor([2.0, 3, 4, 5, 6, 7, 7, 7]))


def test_a_cell_finds_itself_in_the_middle_of_its_window():
    features = torch.eye(256).reshape(1, 256, 16, 16)
    found = Matches(features, features).around(torch.zeros(1, 4, 16, 16)).unflatten(1, (2, 4, 7, 7))
    window = torch.zeros(7, 7)
    window[3, 3] = 1 / 16  # matches are divided by the square root of the number of channels
    torch.testing.assert_close(found[0, 0, 0, :, :, 8, 8], window, atol=1e-6, rtol=0)
    torch.testing.assert_close(found[0, 1, 0, :, :, 8, 8], window, atol=1e-6, rtol=0)


def test_a_video_of_two_frames_has_no_score():
    assert math.isnan(motion_smoothness(levels(10, 10), average))


def test_a_small_video_is_refused(write_weights):
    metric = LEARNED["motion_smoothness"](write_weights(AMT(), "amt-s.safetensors"))
    with pytest.raises(MediaError, match="128x112 px: motion_smoothness needs sides of 113 px or more"):
        metric(np.zeros((5, MIN_SIDE_PX - 1, 128, 3), np.uint8))
