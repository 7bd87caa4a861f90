"""Clips of several segments: they wait for each other, share a credit, and fail and resume together."""

from dataclasses import replace
from random import Random

import pytest

from evs_batch.scheduling import events as ev
from evs_batch.scheduling.admission import credit
from evs_batch.scheduling.policy import Pool
from evs_batch.scheduling.state import State
from evs_batch.spec.recipe import parse_recipe
from evs_batch.spec.segments import cut
from evs_batch.spec.work import Unit, path
from tests.scheduling.world import World, clips_of, only, play, policy, pools, started, up

LONG = ev.Size(cut(96, 16), 8, 2, (64, 64))  # six segments
NEAR = path(parse_recipe({"t2v": {"context": 16}}))  # that look at one on each side


def long_clip(**changes) -> tuple[State, dict[str, ev.Submit]]:
    return started("a", size=LONG, budget_bytes=1000, path=NEAR, **changes)


def finish(state: State, stage: str, *segments: int) -> list[ev.Command]:
    """Calls of a stage come back, whose segments are at least these."""
    commands = []
    for number, batch in list(state.batches.items()):
        at = state.policy.path[batch.at].name
        if at == stage and {unit.segment for unit in batch.units} & set(segments):
            commands += play(state, ev.BatchDone(number), now_s=1.0)
    return commands


def test_a_segment_waits_for_its_neighbours_before_the_block():
    state, calls = long_clip(call_frames={"t2i": 16, "t2v": 16})
    assert calls["t2i_a"].units == (Unit("a", 1),), "the second of two calls in flight"
    assert not only(finish(state, "t2i_a", 0), ev.Submit)[0].stage.name.startswith("t2v")
    after = only(finish(state, "t2i_a", 1), ev.Submit)
    assert [(call.stage.name, call.units) for call in after if call.stage.role == "t2v"] == [("t2v", (Unit("a", 0),))]


def test_only_as_many_segments_are_open_as_the_credit_of_their_clip_allows():
    """Three wait for each other and one is done; the memory that is left is for two more and their frames."""
    state, _ = started("a", size=ev.Size(cut(1600, 16), 8, 2, (64, 64)), budget_bytes=30, path=NEAR)
    assert (state.admitted_bytes, sorted(state.clips["a"].units)) == (2 * 8 + 5 * 2, [0, 1, 2, 3])


def test_only_as_many_segments_have_frames_as_the_credit_of_their_clip_allows():
    state, _ = started("a", size=ev.Size(cut(1600, 16), 8, 2, (64, 64)), budget_bytes=30, path=NEAR)
    at = {number: state.policy.path[unit.at].name for number, unit in state.clips["a"].units.items()}
    assert at == {0: "t2i_a", 1: "t2i_a", 2: "decode", 3: "decode"}
    assert [number for number, unit in state.clips["a"].units.items() if unit.blocked] == [2, 3]


MATCHED = path(parse_recipe({"t2v": {"context": 16}, "output": {"colour_match": "adain"}}))  # pixels of neighbours


STEADY = path(parse_recipe({"composition": "T2V", "t2v": {"context": 40}, "output": {"colour_match": "adain"}}))


@pytest.mark.parametrize(("stages", "segment", "lent"), [(MATCHED, 16, 1), (STEADY, 16, 1), (STEADY, 5, 2)])
@pytest.mark.parametrize("ahead", [0, 1, 2, 4])
def test_a_credit_is_enough_where_pixels_of_neighbours_are_looked_at(stages, segment: int, lent: int, ahead: int):
    """Whatever comes back first, whatever an earlier run has done, and nothing is held beyond the credit."""
    size = ev.Size(cut(320, segment), 8, 2, (64, 64))
    given = credit(stages, size, ahead)
    for seed in range(30):
        done = frozenset(at for at in range(size.segments.count) if seed % 2 and Random(seed + at).random() < 0.6)
        crew = pools(t2i=1, t2v=4, media=5)
        world = World(
            seed, 1, 0.0, path=stages, pools=crew, budget_bytes=given.bytes, call_frames={"t2i": 16, "t2v": 16}
        )
        world.sizes["clip0"] = replace(size, done=done)
        world.run()
        assert (world.commits, world.failures, given.lent) == ({"clip0": 1}, {}, lent)


def test_what_an_earlier_run_has_done_is_not_done_again():
    state, calls = started("a", size=replace(LONG, done=frozenset({0, 1, 3})), budget_bytes=1000, path=NEAR)
    assert [unit.segment for unit in calls["t2i_a"].units] == [1, 2, 3, 4], "1 and 3 only lend their latents"
    seen: set[tuple[str, int]] = set()
    commands: list[ev.Command] = []
    while state.clips:
        seen |= {(call.stage.name, unit.segment) for call in only(commands, ev.Submit) for unit in call.units}
        commands = play(state, *[ev.BatchDone(number) for number in list(state.batches)], ev.Tick(), now_s=9.0)
    assert {number for name, number in seen if name == "t2v"} == {2, 4, 5}
    assert {number for name, number in seen if name == "encode"} == {2, 4, 5}
    assert ("join", 0) in seen


def test_a_clip_of_which_every_part_is_there_is_only_joined():
    state = State(policy(budget_bytes=1000, path=NEAR))
    commands = play(state, ev.Tick(), ev.RowsArrived(("a",), True), up("media-2"))
    done = replace(LONG, done=frozenset(range(6)))
    commands = play(state, ev.BatchDone(only(commands, ev.Submit)[0].batch, {"a": done}))
    assert [call.stage.name for call in only(commands, ev.Submit)] == ["join"]


def test_a_clip_whose_segments_need_more_than_the_budget_fails_with_the_way_out():
    state = State(policy(budget_bytes=13, path=NEAR))
    commands = play(state, ev.Tick(), ev.RowsArrived(("a",), True), up("media-2"))
    commands = play(state, ev.BatchDone(only(commands, ev.Submit)[0].batch, {"a": LONG}))
    message = only(commands, ev.Commit)[0].failure.message
    assert message.startswith(
        "3 segments of 16 frames that wait for each other need 0.00 GB: must be at most the budget"
    )
    assert message.endswith("lower runtime.segment_frames, t2v.context or the number of blocks")


def test_the_segments_of_a_clip_are_decoded_by_one_worker():
    state = State(policy(pools={"media": Pool(2, ("media",))}, budget_bytes=1000))
    commands = play(state, ev.Tick(), ev.RowsArrived(("a", "b"), True), up("media-0"), up("media-1"))
    probes = only(commands, ev.Submit)
    commands = play(state, *[ev.BatchDone(call.batch, {clips_of(call)[0]: LONG}) for call in probes])
    readers: dict[str, set[str]] = {"a": set(), "b": set()}
    for _ in range(12):
        for call in (calls := only(commands, ev.Submit)):
            readers[call.units[0].clip].add(call.worker)
        commands = play(state, *[ev.BatchDone(call.batch) for call in calls])
    assert sorted(map(len, readers.values())) == [1, 1]
    play(state, ev.WorkerLost("media-0", "killed"))
    assert state.clips, "what it had open is read by another one"


def test_a_clip_is_joined_when_all_its_segments_are_encoded():
    state, _ = started("a", size=LONG, budget_bytes=1000)
    commands: list[ev.Command] = []
    while not (joins := [call for call in only(commands, ev.Submit) if call.stage.name == "join"]):
        commands = play(state, *[ev.BatchDone(number) for number in list(state.batches)], ev.Tick(), now_s=9.0)
    assert joins[0].units == (Unit("a", 0),)
    assert not only(commands, ev.Commit)
    assert only(play(state, ev.BatchDone(joins[0].batch)), ev.Commit)[0].failure is None


def test_a_segment_that_fails_ends_its_clip_and_no_other():
    state, calls = started("a", "b", "c", size=LONG, budget_bytes=1000, call_frames={"t2i": 16, "t2v": 16})
    commands = play(state, ev.BatchFailed(calls["t2i_a"].batch, ev.FailureKind.BAD_INPUT, "Boom", "no such picture"))
    clip = clips_of(calls["t2i_a"])[0]
    assert [commit.clip for commit in only(commands, ev.Commit)] == [clip]
    assert clip not in state.clips
    assert state.clips.keys() == {"a", "b", "c"} - {clip}
    assert not any(unit.clip == clip for batch in state.batches.values() for unit in batch.units)
    late = [number for number, batch in state.batches.items() if not batch.units]
    play(state, *[ev.BatchDone(number) for number in late])


def test_lost_data_of_one_segment_start_the_whole_clip_again():
    state, calls = long_clip(call_frames={"t2i": 16, "t2v": 16})
    commands = play(state, ev.BatchFailed(calls["t2i_a"].batch, ev.FailureKind.DATA_LOST, "ObjectLostError", "gone"))
    assert [command.clip for command in only(commands, ev.Forget)] == ["a"]
    assert {unit.at for unit in state.clips["a"].units.values()} == {1}
    assert (state.clips["a"].attempts, state.clips["a"].losses) == (1, 1)


def test_lost_data_cost_no_part_that_is_encoded():
    state, _ = long_clip(call_frames={"t2i": 16, "t2v": 16})
    while not (encodes := [b for b in state.batches.values() if state.policy.path[b.at].name == "encode"]):
        play(state, *[ev.BatchDone(number) for number in list(state.batches)], ev.Tick(), now_s=9.0)
    play(state, ev.BatchDone(encodes[0].number))
    running = next(b.number for b in state.batches.values() if state.policy.path[b.at].role == "t2i" and b.units)
    commands = play(state, ev.BatchFailed(running, ev.FailureKind.DATA_LOST, "ObjectLostError", "gone"))
    assert only(commands, ev.Forget)[0].done == {0}
    assert state.clips["a"].ends[0] < state.policy.join
