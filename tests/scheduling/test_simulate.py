"""What the policy makes of simulated work; the clock is simulated, so the figures are exact."""

import random
from collections import Counter

import pytest

from evs_batch.scheduling import events as ev
from evs_batch.scheduling.policy import Pool
from evs_batch.scheduling.simulate import Durations, Outcome, simulate, weightless
from evs_batch.spec.recipe import parse_recipe
from evs_batch.spec.work import path
from tests.scheduling.world import policy, pools

BOTH = ("t2i", "t2v")
SECONDS = {
    "frame_s": {"t2i_a": 0.006, "t2v": 0.0065, "t2i_b": 0.004}, "call_s": 0.02, "hand_off_s": 0.005,
    "media_s": {"probe": 0.001, "decode": 0.02, "encode": 0.02},
}  # fmt: skip


def clips(count: int, seed: int = 0) -> dict[str, int]:
    rng = random.Random(seed)
    return {f"clip{number}": rng.choice([8, 16, 16, 16, 24, 32, 48, 64]) for number in range(count)}


def ideal_s(work: dict[str, int], workers: int) -> float:
    """Calls of 64 frames, and nobody ever waits."""
    return sum(work.values()) * (0.0165 + 3 * 0.02 / 64) / workers


def run(work: dict[str, int], crew: dict[str, Pool], calls_ahead: int = 6, **durations) -> Outcome:
    models = sum(pool.size for pool in crew.values())
    plan = policy(
        pools={**crew, **pools(media=2 * models)}, budget_bytes=10**12, lookahead_clips=12 * models, max_wait_s=0.5,
        calls_ahead=calls_ahead,
    )  # fmt: skip
    outcome = simulate(plan, Durations(**{**SECONDS, **durations}), weightless(work))
    assert isinstance(outcome.end, ev.Finish)
    assert outcome.commits == Counter(dict.fromkeys(work, 1))
    return outcome


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8, 16, 64])
def test_workers_that_hold_both_models_lose_at_most_three_percent(workers: int):
    work = clips(50 * workers)
    outcome = run(work, {"model": Pool(workers, BOTH)}, load_s={"t2i": 0.05, "t2v": 0.05})
    assert ideal_s(work, workers) / outcome.seconds > 0.97


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8, 16, 64])
def test_workers_that_must_swap_models_do_it_rarely(workers: int):
    work = clips(50 * workers)
    outcome = run(work, {"model": Pool(workers, BOTH, keeps=1)}, load_s={"t2i": 0.2, "t2v": 0.2})
    assert ideal_s(work, workers) / outcome.seconds > 0.97
    assert outcome.loads < 2 * workers + 5


def test_a_worker_that_waits_long_enough_loads_the_other_role_however_small_its_backlog():
    """Little memory, little backlog: without the sum of what was lost, nobody would ever load the second model."""
    work = clips(400)
    outcome = run(work, {"model": Pool(8, BOTH)}, calls_ahead=1, load_s={"t2i": 1.0, "t2v": 1.0})
    assert outcome.loads > 0
    assert ideal_s(work, 8) / outcome.seconds > 0.7


def test_where_loading_takes_long_roles_are_changed_even_less():
    work = clips(400)
    cheap, dear = (run(work, {"model": Pool(8, BOTH, 1)}, load_s={"t2i": s, "t2v": s}).loads for s in (0.2, 10.0))
    assert dear <= cheap


def test_a_pool_of_one_role_is_as_good_as_its_slowest_half():
    work = clips(400)
    pinned = run(work, pools(t2i=5, t2v=3))
    assert ideal_s(work, 8) / pinned.seconds > 0.97 * min(5 / 0.010, 3 / 0.0065) / (8 / 0.0165)


def test_fast_and_slow_workers_share_the_work():
    work = clips(400)
    outcome = run(work, {"model": Pool(8, BOTH)}, speeds=(1.0, 0.25))
    assert ideal_s(work, 5) / outcome.seconds > 0.95


def test_short_segments_are_not_starved_by_their_own_limits():
    context = path(parse_recipe({"t2v": {"context": 32}}))
    plan = policy(path=context, pools=pools(t2i=1, t2v=1, media=2), budget_bytes=10**12, max_wait_s=0.5)
    seconds = {n: simulate(plan, Durations(**SECONDS), weightless({"film": 1000}, n)).seconds for n in (64, 16, 8)}
    assert max(seconds.values()) < 1.3 * seconds[64], seconds


def test_calls_are_filled_up_to_whole_forward_passes():
    alone = path(parse_recipe({"composition": "T2I"}))
    plan = policy(path=alone, pools=pools(t2i=1, media=1), budget_bytes=10**12)
    durations = Durations(frame_s={"t2i_a": 0.01}, forward={"t2i": 16})
    assert simulate(plan, durations, weightless({"a": 17})).seconds == pytest.approx(0.32, abs=0.001)


def test_at_the_end_short_clips_even_out_what_long_ones_leave():
    alone = path(parse_recipe({"composition": "T2I"}))
    plan = policy(path=alone, pools=pools(t2i=2, media=5), budget_bytes=10**12, calls_in_flight=1)
    work = {"first": 64, "second": 64, "a": 8, "b": 8, "c": 32, "d": 32, "e": 64}
    outcome = simulate(plan, Durations(frame_s={"t2i_a": 0.01}), weightless(work))
    assert outcome.seconds == pytest.approx(1.44), "in their order 1.60: the longest would be last, and alone"
