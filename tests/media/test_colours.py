import numpy as np
import pytest

import evs_batch
from evs_batch.media.colours import colours, match
from evs_batch.spec.recipe import load_recipe
from evs_batch.spec.segments import cut
from evs_batch.spec.work import COLOURS_AROUND, path
from tests.conftest import stripes

FRAMES = 12
NO_CUTS = np.zeros(FRAMES, bool)


def shifted(frames: np.ndarray) -> np.ndarray:
    """Warmer, and with less contrast."""
    return np.clip(frames * np.array([0.8, 0.7, 0.6]) + np.array([40, 20, 0]), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("method", "left"), [("wavelet", 0.35), ("adain", 0.1)])
def test_a_shift_of_colours_is_taken_back(method: str, left: float):
    source = stripes(FRAMES, 90, 160)
    wrong = shifted(source)
    found = match(wrong, colours(source), NO_CUTS, method)
    assert np.abs(found.astype(int) - source).mean() < left * np.abs(wrong.astype(int) - source).mean()


@pytest.mark.parametrize("method", ["wavelet", "adain"])
def test_equal_colours_change_nothing_and_details_stay(method: str):
    source = stripes(FRAMES, 90, 160)
    assert np.abs(match(source, colours(source), NO_CUTS, method).astype(int) - source).max() <= 1
    sharp = source.copy()
    sharp[:, ::2] = np.clip(source[:, ::2].astype(int) + 12, 0, 255)
    sharp[:, 1::2] = np.clip(source[:, 1::2].astype(int) - 12, 0, 255)
    found = match(sharp, colours(source), NO_CUTS, method)
    edges = [np.abs(np.diff(frames.astype(int), axis=1)).mean() for frames in (sharp, found)]
    assert edges[1] > 0.9 * edges[0]


def test_results_may_be_larger_and_sources_smaller_than_the_grid():
    source = stripes(FRAMES, 8, 6)
    larger = shifted(source.repeat(4, 1).repeat(4, 2))
    found = match(larger, colours(source), NO_CUTS, "wavelet")
    assert found.shape == larger.shape
    assert np.abs(colours(found).mean((0, 1, 2)) - colours(source).mean((0, 1, 2))).max() < 3


@pytest.mark.parametrize("method", ["wavelet", "adain"])
def test_a_flicker_of_the_source_is_not_taken_over(method: str):
    steady = np.repeat(stripes(1, 90, 160), 4 * COLOURS_AROUND, 0)
    flicker = np.clip(steady.astype(int) + np.where(np.arange(len(steady)) % 2, 12, -12)[:, None, None, None], 0, 255)
    found = match(steady, colours(flicker.astype(np.uint8)), np.zeros(len(steady), bool), method)
    changes = [np.abs(np.diff(frames.astype(float).mean((1, 2, 3)))).mean() for frames in (flicker, found)]
    assert changes[1] < 0.15 * changes[0]


@pytest.mark.parametrize("method", ["wavelet", "adain"])
def test_no_correction_crosses_a_cut(method: str):
    source = np.full((FRAMES, 90, 160, 3), 60, np.uint8)
    source[6:] = 180
    result = np.full_like(source, 120)
    cuts = np.arange(FRAMES) == 6
    assert np.abs(match(result, colours(source), cuts, method).astype(int) - source).max() <= 1
    assert np.abs(match(result, colours(source), NO_CUTS, method).astype(int) - source).max() > 20


def test_the_recipe_asks_for_it_in_a_job_and_in_memory():
    assert "colours" not in path(load_recipe("identity"))[-2].needs
    recipe = load_recipe("identity", ["output.colour_match=adain"])
    assert {"cuts", "colours"} < set(path(recipe)[-2].needs)
    assert "colours" in path(recipe)[1].gives


@pytest.mark.parametrize("method", ["wavelet", "adain"])
def test_segments_are_matched_as_the_whole_clip_is(method: str):
    """A source that becomes brighter, a result that does not."""
    source = np.clip(np.arange(40)[:, None, None, None] * 4 + stripes(40, 90, 160) // 4, 0, 255).astype(np.uint8)
    result, none = np.full_like(source, 90), np.zeros(40, bool)
    encode, segments = path(load_recipe("identity", [f"output.colour_match={method}"]))[-2], cut(40, 16)
    made = []
    for number in range(segments.count):
        rows = [frame for _, frames in segments.seen(encode, number) for frame in frames]
        own = slice(rows.index(segments.span(number).start), rows.index(segments.span(number)[-1]) + 1)
        made.append(match(result[rows], colours(source[rows]), none[rows], method, own))
    assert np.array_equal(np.concatenate(made), match(result, colours(source), none, method))


@pytest.mark.slow
def test_it_reaches_the_pixels():
    frames = stripes(3, 64, 64)
    plain, matched = (
        evs_batch.enhance(
            frames, "stripes", load_recipe("demo", ["runtime.segment_frames=2", f"output.colour_match={how}"])
        )
        for how in ("none", "wavelet")
    )
    off = [np.abs(colours(made) - colours(frames)).mean() for made in (plain, matched)]
    assert off[1] < off[0]
