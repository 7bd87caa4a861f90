"""How fast a run goes, and when it will be done."""

import pytest

from evs_batch.driver.rates import Look, Rates


def rates(*looks: Look) -> Rates:
    made = Rates()
    for look in looks:
        made.take(look)
    return made


def look(now_s: float, a: int, b: int) -> Look:
    """Two stages: a frame takes 1 s in the first and 3 s in the second."""
    return Look(now_s, {"a": a, "b": b}, {"a": 1.0 * a, "b": 3.0 * b})


def test_rates_are_those_of_the_last_two_minutes():
    made = rates(*(look(10.0 * at, 100 * at, 0) for at in range(20)), look(200.0, 1900, 60))
    assert made.frames_per_s() == pytest.approx({"a": 100 * 11 / 120, "b": 60 / 120})


def test_the_end_is_told_from_the_work_that_is_left_also_of_clips_on_their_way():
    made = rates(look(0.0, 1, 1), look(10.0, 21, 11))  # 50 s of work in 10 s
    assert made.eta_s(21) == pytest.approx(10 * 3.0 / 5.0)
    assert made.eta_s(101) == pytest.approx((80 * 1.0 + 90 * 3.0) / 5.0)


def test_nothing_is_told_before_every_stage_has_done_something():
    assert rates(look(0.0, 0, 0)).eta_s(10) is None
    assert rates(look(0.0, 0, 0), look(10.0, 20, 0)).eta_s(100) is None


def test_a_run_that_goes_on_evenly_always_ends_at_the_same_time():
    looks = [look(10.0 * at, 50 * at, 50 * at - 20) for at in range(1, 20)]
    ends = [10.0 * (at + 1) + (rates(*looks[: at + 1]).eta_s(1000) or 0.0) for at in range(2, 19)]
    assert max(ends) - min(ends) < 0.05 * max(ends)


@pytest.mark.parametrize("starting_s", [0, 20, 120])
def test_the_time_that_workers_take_to_start_is_not_taken_for_slowness(starting_s: int):
    def done(now_s: int) -> int:
        return max(0, now_s - starting_s) * 5

    made, ends = Rates(), dict[int, float]()
    for now_s in range(0, starting_s + 150, 2):
        made.take(look(float(now_s), done(now_s), max(0, done(now_s) - 20)))
        if (left_s := made.eta_s(2000)) is not None:
            ends[now_s] = now_s + left_s
    assert min(ends) <= starting_s + 8
    for at_s, end_s in ends.items():
        assert end_s - starting_s == pytest.approx(400, rel=0.05), at_s


def test_looks_that_are_too_near_to_each_other_are_one():
    assert rates(look(0.0, 0, 0), look(1.0, 5, 5)).frames_per_s() == {}
