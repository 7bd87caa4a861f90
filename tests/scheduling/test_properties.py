"""Over random event orders with failures: no clip lost, none done twice, credits kept, no deadlock."""

from hypothesis import given, settings
from hypothesis import strategies as st

from evs_batch.scheduling import events as ev
from tests.scheduling.world import World

SEEDS = st.integers(0, 2**32)
STAGES = ["probe", "decode", "t2i_a", "t2v", "t2i_b", "encode"]


@settings(max_examples=150)
@given(SEEDS, st.integers(0, 40), st.integers(1, 4), st.integers(1, 3), st.integers(40, 200), st.booleans())
def test_without_faults_every_clip_passes_every_stage_once(seed, clips, t2i, t2v, budget, one_call):
    world = World(
        seed, clips, chaos=0.0, workers={"t2i": t2i, "t2v": t2v, "media": 2}, budget_bytes=budget,
        calls_in_flight=1 if one_call else 2,
    )  # fmt: skip
    names = list(world.rows)
    world.run()
    assert isinstance(world.end, ev.Finish)
    assert world.commits == dict.fromkeys(names, 1)
    assert not world.failures
    assert all(world.done[name] == STAGES for name in names)


@settings(max_examples=300)
@given(SEEDS, st.integers(1, 40), st.floats(0.05, 0.8), st.integers(1, 4), st.integers(40, 200))
def test_with_faults_every_clip_is_committed_exactly_once(seed, clips, chaos, workers, budget):
    world = World(
        seed, clips, chaos, workers={"t2i": workers, "t2v": workers, "media": 2}, budget_bytes=budget,
        max_start_failures=1000, max_attempts=50,
    )  # fmt: skip
    names = list(world.rows)
    world.run(max_steps=100_000)
    assert isinstance(world.end, ev.Finish), world.end
    assert world.commits == dict.fromkeys(names, 1)
    assert world.state.admitted_bytes == 0
    assert not world.state.clips
    assert set(world.failures) == world.poison, "the poison fails, all of it and nothing else"


@settings(max_examples=50)
@given(SEEDS, st.floats(0.0, 0.5))
def test_equal_events_give_equal_commands(seed, chaos):
    ends = []
    for _ in range(2):
        world = World(seed, 12, chaos, max_start_failures=1000, max_attempts=20)
        world.run(max_steps=100_000)
        ends.append((world.steps, world.end, world.done))
    assert ends[0] == ends[1]
