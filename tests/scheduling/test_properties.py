"""Over random event orders with failures: no clip lost, none done twice, credits kept, no deadlock."""

from hypothesis import given, settings
from hypothesis import strategies as st

from evs_batch.scheduling import events as ev
from evs_batch.scheduling.policy import Pool
from evs_batch.spec.recipe import Recipe, parse_recipe
from evs_batch.spec.work import Unit, path
from tests.scheduling.world import World, pools

SEEDS = st.integers(0, 2**32)
LONGEST = st.sampled_from([1000, 64, 24])  # frames of a segment
CREWS = st.one_of(
    st.builds(lambda t2i, t2v: pools(t2i=t2i, t2v=t2v, media=2), st.integers(1, 4), st.integers(1, 3)),
    st.builds(
        lambda size, keeps: {"model": Pool(size, ("t2i", "t2v"), keeps), **pools(media=2)},
        st.integers(1, 5), st.integers(1, 2),
    ),
)  # fmt: skip
RECIPES = st.sampled_from(
    [
        Recipe(),
        parse_recipe({"t2i": {"attention": "first_frame"}, "t2v": {"context": 10}}),
        parse_recipe({"composition": "T2V", "t2v": {"context": 40, "steps": 20}}),
        parse_recipe({"t2v": {"switch_at": [8, 4], "context": 30}}),
        parse_recipe({"composition": "T2I"}),
        parse_recipe({"t2v": {"context": 16}, "output": {"colour_match": "adain"}}),
        parse_recipe({"composition": "identity", "output": {"colour_match": "wavelet"}}),
    ]
)


@settings(max_examples=100)
@given(
    SEEDS,
    st.integers(0, 40),
    CREWS,
    st.integers(40, 400),
    st.booleans(),
    LONGEST,
    RECIPES,
)
def test_without_faults_every_segment_passes_every_stage_once(seed, clips, crew, budget, one_call, longest, recipe):
    world = World(
        seed, clips, chaos=0.0, longest=longest, pools=crew, budget_bytes=budget,
        calls_in_flight=1 if one_call else 2, path=path(recipe),
    )  # fmt: skip
    names = list(world.rows)
    world.run(max_steps=100_000)
    assert isinstance(world.end, ev.Finish)
    assert world.commits == dict.fromkeys(names, 1)
    assert {failure.type for failure in world.failures.values()} <= {"TooLarge"}
    _, *stages, last = [stage.name for stage in world.state.policy.path]
    for name in set(names) - set(world.failures):
        ends = world.ends(name)
        for number, passed in enumerate(ends):
            first, end = ["probe"] * (number == 0), [last] * (number == 0 and len(ends) > 1)
            assert world.done[Unit(name, number)] == [*first, *stages[: max(0, passed - 1)], *end]


@settings(max_examples=80)
@given(SEEDS, st.integers(1, 40), st.floats(0.05, 0.8), CREWS, st.integers(200, 400), LONGEST)
def test_with_faults_every_clip_is_committed_exactly_once(seed, clips, chaos, crew, budget, longest):
    world = World(
        seed, clips, chaos, longest, pools=crew, budget_bytes=budget,
        max_start_failures=1000, max_attempts=50,
    )  # fmt: skip
    names = list(world.rows)
    world.run(max_steps=200_000)
    assert isinstance(world.end, ev.Finish), world.end
    assert world.commits == dict.fromkeys(names, 1)
    assert world.state.admitted_bytes == 0
    assert not world.state.clips
    assert not any(world.state.units_at.values())
    place = {stage.name: at for at, stage in enumerate(world.state.policy.path)}
    met = {name for name in world.poison if max(world.ends(name)) > place["t2v"]}
    assert set(world.failures) == met, "the poison fails, all of it and nothing else"


@settings(max_examples=50)
@given(SEEDS, st.floats(0.0, 0.5))
def test_equal_events_give_equal_commands(seed, chaos):
    ends = []
    for _ in range(2):
        world = World(seed, 12, chaos, longest=64, max_start_failures=1000, max_attempts=20)
        world.run(max_steps=100_000)
        ends.append((world.steps, world.end, world.done))
    assert ends[0] == ends[1]
