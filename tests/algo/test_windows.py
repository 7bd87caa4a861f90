import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evs_batch.algo.windows import Grid, Plan, Window, plan_windows, reflect, windowed

GRID = Grid(width=16, overlap=8)


def identity(z_WKChw, t, place_W2):
    return z_WKChw


def over_all(frames: int, grid: Grid = GRID, cuts: tuple[int, ...] = (), shift: int = 0) -> list[Window]:
    """The windows of one evaluation of a whole clip."""
    return plan_windows(grid, range(frames), range(frames), cuts, frames, [shift])[0]


def always(frames: int) -> Plan:
    return lambda _: over_all(frames)


def test_windows_of_a_clip_share_half_of_their_frames():
    assert [int(window.frames_K[0]) for window in over_all(40)] == [0, 8, 16, 24]


@given(st.integers(1, 120), st.integers(2, 32), st.data())
def test_windows_cover_every_frame_of_every_clip(frames: int, width: int, data):
    grid = Grid(width=width, overlap=data.draw(st.integers(0, width - 1)))
    cuts = data.draw(st.lists(st.integers(1, max(1, frames - 1)), max_size=4))
    windows = over_all(frames, grid, tuple(cuts), grid.shift(data.draw(st.integers(0, 9))))
    weight = torch.zeros(frames)
    for window in windows:
        assert len(window.frames_K) == width
        weight.index_add_(0, window.frames_K, window.weights_K)
    assert (weight > 0).all()


@given(st.integers(2, 90), st.sets(st.integers(1, 89), max_size=5), st.integers(0, 7))
def test_no_window_crosses_a_cut(frames: int, cuts: set[int], shift: int):
    for window in over_all(frames, cuts=tuple(cuts), shift=shift):
        shown = window.frames_K.tolist()
        assert not any(min(shown) < cut <= max(shown) for cut in cuts)


def test_the_steps_of_a_block_move_their_windows():
    assert [GRID.shift(step) for step in range(5)] == [0, 4, 2, 6, 1]
    assert [int(window.frames_K[0]) for window in over_all(40, shift=4)] == [0, 4, 12, 20, 24]


@pytest.mark.parametrize("evaluations", [1, 2, 3])
@pytest.mark.parametrize("cuts", [(), (63,), (70, 75), (100, 128, 130)])
@pytest.mark.parametrize("own", [range(64), range(64, 128), range(128, 200), range(60, 61)])
def test_a_segment_with_context_is_as_in_the_whole_clip(evaluations: int, cuts: tuple[int, ...], own: range):
    """Bit by bit, with a model that mixes the frames of a window."""
    z = torch.randn(200, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    shifts = [GRID.shift(step) for step in range(evaluations)]

    def mix(z_WKChw, t, place_W2):
        return torch.tanh(z_WKChw) * 0.3 + 0.5 * z_WKChw.mean(1, keepdim=True) + 0.2 * z_WKChw.roll(1, 1)

    def run(own: range, seen: range) -> torch.Tensor:
        made = z[seen.start : seen.stop]
        for windows in plan_windows(GRID, own, seen, cuts, 200, shifts):
            moved = [window.moved(-seen.start) for window in windows]
            made = made + windowed(mix, [lambda _, found=moved: found], [len(seen)])(made, torch.tensor(0))
        return made[own.start - seen.start : own.stop - seen.start]

    context = evaluations * (GRID.width - 1)
    seen = range(max(0, own.start - context), min(200, own.stop + context))
    assert torch.equal(run(own, seen), run(range(200), range(200))[own.start : own.stop])


@pytest.mark.parametrize("overlap", [4, 8, 15])
@pytest.mark.parametrize("evaluations", [1, 2])
def test_wherever_a_cut_is_a_segment_knows_its_windows(overlap: int, evaluations: int):
    grid = Grid(width=16, overlap=overlap)
    own, context = range(80, 120), evaluations * 15 + 1
    seen, whole, shifts = range(80 - context, 120 + context), range(200), [grid.shift(e) for e in range(evaluations)]
    for cut in range(40, 160, 3):
        known = [cut] if cut in seen else []
        last = plan_windows(grid, own, seen, known, 200, shifts)[-1]
        expected = plan_windows(grid, whole, whole, [cut], 200, shifts)[-1]
        touching = [w for w in expected if (w.frames_K.max() >= own.start) and (w.frames_K.min() < own.stop)]
        assert [w.frames_K.tolist() for w in last] == [w.frames_K.tolist() for w in touching], cut


def test_only_windows_that_a_segment_depends_on_are_evaluated():
    first, last = plan_windows(GRID, range(64, 128), range(32, 160), (), 1000, [0, 4])
    assert [int(window.frames_K[0]) for window in last] == list(range(52, 128, 8))
    assert [int(window.frames_K[0]) for window in first] == list(range(40, 140, 8))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=4))
def test_a_model_that_changes_nothing_stays_so_under_windows(lengths: list[int]):
    z = torch.randn(sum(lengths), 2, 2, 2)
    made = windowed(identity, [always(frames) for frames in lengths], lengths)(z, torch.tensor(0))
    assert torch.allclose(made, z, atol=1e-6)


def test_windows_never_mix_clips():
    def mean_of_window(z_WKChw, t, place_W2):
        return z_WKChw.mean(1, keepdim=True).expand_as(z_WKChw)

    z = torch.cat([torch.zeros(20, 1, 1, 1), torch.ones(5, 1, 1, 1)])
    out = windowed(mean_of_window, [always(20), always(5)], [20, 5])(z, torch.tensor(0))
    assert torch.allclose(out, z)


def test_a_short_clip_is_reflected_and_its_copies_do_not_count():
    window = over_all(3, Grid(width=8, overlap=4))[0]
    assert window.frames_K.tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert window.weights_K.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("length", "expected"), [(1, [0, 0, 0, 0, 0]), (2, [0, 1, 0, 1, 0]), (4, [0, 1, 2, 3, 2])])
def test_reflection_does_not_repeat_the_ends(length: int, expected: list[int]):
    assert reflect(torch.arange(5), length).tolist() == expected


def test_the_blend_is_a_ramp_over_the_overlap():
    def number_of_window(z_WKChw, t, place_W2):
        return torch.arange(len(z_WKChw)).float()[:, None, None, None, None].expand_as(z_WKChw)

    out = windowed(number_of_window, [always(24)], [24])(torch.zeros(24, 1, 1, 1), torch.tensor(0)).flatten()
    assert out[:8].tolist() == [0] * 8
    assert torch.allclose(out[8:16], torch.arange(1, 9) / 9)
    assert out[16:].tolist() == [1] * 8
