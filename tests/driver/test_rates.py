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
    made = rates(look(0.0, 0, 0), look(10.0, 20, 10))  # 50 s of work in 10 s
    assert made.eta_s(20) == pytest.approx(10 * 3.0 / 5.0)
    assert made.eta_s(100) == pytest.approx((80 * 1.0 + 90 * 3.0) / 5.0)


def test_nothing_is_told_before_every_stage_has_done_something():
    assert rates(look(0.0, 0, 0)).eta_s(10) is None
    assert rates(look(0.0, 0, 0), look(10.0, 20, 0)).eta_s(100) is None


def test_a_run_that_goes_on_evenly_always_ends_at_the_same_time():
    looks = [look(10.0 * at, 50 * at, 50 * at - 20) for at in range(1, 20)]
    ends = [10.0 * (at + 1) + (rates(*looks[: at + 1]).eta_s(1000) or 0.0) for at in range(2, 19)]
    assert max(ends) - min(ends) < 0.05 * max(ends)


def test_looks_that_are_too_near_to_each_other_are_one():
    assert rates(look(0.0, 0, 0), look(1.0, 5, 5)).frames_per_s() == {}
