from evs_batch.scheduling import events as ev
from evs_batch.scheduling.state import State
from tests.scheduling.world import only, play, policy

SIZE = ev.Size(16, 10, (64, 64))


def started(*clips: str, exhausted: bool = True, **changes) -> tuple[State, dict[str, ev.Submit]]:
    """A run whose workers are up and whose clips are decoded; returns what was submitted last, by worker role."""
    state = State(policy(**changes))
    commands = play(state, ev.Tick(), ev.RowsArrived(clips, exhausted))
    commands += play(state, *[ev.WorkerUp(command.worker) for command in only(commands, ev.StartWorker)])
    while calls := [call for call in only(commands, ev.Submit) if call.stage.role == "media"]:
        sizes = {name: SIZE for call in calls if call.stage.name == "probe" for name in call.clips}
        later = [c for c in only(commands, ev.Submit) if c.stage.role != "media"]
        commands = later + play(
            state, *[ev.BatchDone(call.batch, {n: sizes[n] for n in call.clips} if sizes else {}) for call in calls]
        )
    return state, {call.stage.name: call for call in only(commands, ev.Submit)}


def test_a_run_begins_with_its_workers_and_its_rows():
    commands = play(State(policy()), ev.Tick())
    assert [command.role for command in only(commands, ev.StartWorker)] == ["t2i", "t2v", "media"]
    assert only(commands, ev.WantRows)[0].count == 8


def test_frames_of_several_clips_share_a_call_up_to_its_limit():
    _, calls = started("a", "b", "c", "d", "e")
    assert calls["t2i_a"].clips == ("a", "b", "c", "d")
    assert calls["t2i_a"].reason == "a full call"


def test_both_models_work_at_once_on_different_clips():
    state, _ = started("a", "b", call_frames={"t2i": 16, "t2v": 16})
    commands = play(state, ev.BatchDone(state.workers["t2i-0"].calls[0]))
    assert [(call.stage.name, call.clips) for call in only(commands, ev.Submit)] == [("t2v", ("a",))]
    running = {state.policy.path[batch.at].name: batch.clips for batch in state.batches.values()}
    assert running == {"t2i_a": ("b",), "t2v": ("a",)}, "while clip k is in T2V, clip k+1 is in T2I"


def test_later_stages_go_first():
    state, _ = started("a", "b", "c", calls_in_flight=1, call_frames={"t2i": 16, "t2v": 16})
    play(state, ev.BatchDone(state.workers["t2i-0"].calls[0]))
    play(state, ev.BatchDone(state.workers["t2v-1"].calls[0]))
    commands = play(state, ev.BatchDone(state.workers["t2i-0"].calls[0]))
    assert [call.clips for call in only(commands, ev.Submit) if call.stage.name == "t2i_b"] == [("a",)]


def test_an_idle_worker_waits_for_a_full_call_but_not_for_ever():
    state, calls = started("a", exhausted=False)
    assert "t2i_a" not in calls
    assert not only(play(state, ev.Tick(), now_s=0.5), ev.Submit)
    late = only(play(state, ev.Tick(), now_s=1.5), ev.Submit)
    assert (late[0].clips, "has waited 1.5 s" in late[0].reason) == (("a",), True)


def test_credits_hold_clips_back_until_others_are_done():
    state, _ = started("a", "b", "c", budget_bytes=25)
    assert state.admitted_bytes == 20
    assert list(state.waiting) == ["c"]


def test_a_clip_larger_than_the_whole_budget_fails_with_the_way_out():
    state = State(policy(budget_bytes=5))
    commands = play(state, ev.Tick(), ev.RowsArrived(("a",), True), ev.WorkerUp("media-2"))
    probe = only(commands, ev.Submit)[0]
    commands = play(state, ev.BatchDone(probe.batch, {"a": SIZE}))
    failure = only(commands, ev.Commit)[0].failure
    assert (failure.type, "raise runtime.memory_gb" in failure.message) == ("TooLarge", True)
    assert only(commands, ev.Finish)


def test_a_lost_worker_is_replaced_and_only_its_oldest_call_is_suspected():
    state, _ = started("a", "b", call_frames={"t2i": 16, "t2v": 16})
    commands = play(state, ev.WorkerLost("t2i-0", "killed"))
    assert [command.role for command in only(commands, ev.StartWorker)] == ["t2i"]
    new = only(commands, ev.StartWorker)[0].worker
    calls = only(play(state, ev.WorkerUp(new)), ev.Submit)
    assert [(call.clips, call.reason) for call in calls] == [
        (("a",), "replayed alone after a failure"),
        (("b",), "a full call"),
    ]
    assert (state.clips["a"].attempts, state.clips["b"].attempts) == (2, 1)


def test_a_failed_call_is_halved_until_the_guilty_clip_is_alone():
    state, calls = started("a", "b", "c", "d")
    seen, failing = [], [calls["t2i_a"]]
    while failing:
        call = failing.pop(0)
        seen.append(call.clips)
        event = (
            ev.BatchFailed(call.batch, ev.FailureKind.ERROR, "Boom", "c is poison")
            if "c" in call.clips
            else ev.BatchDone(call.batch)
        )
        commands = play(state, event)
        failing += [c for c in only(commands, ev.Submit) if c.stage.name == "t2i_a"]
    assert seen[:5] == [("a", "b", "c", "d"), ("a", "b"), ("c", "d"), ("c",), ("d",)]
    assert seen[5:] == [("c",), ("c",)], "three attempts of its own"
    assert only(commands, ev.Commit)[0].failure.message == "c is poison"


def test_bad_input_fails_at_once():
    state = State(policy())
    commands = play(state, ev.Tick(), ev.RowsArrived(("a",), True), ev.WorkerUp("media-2"))
    call = only(commands, ev.Submit)[0]
    commands = play(state, ev.BatchFailed(call.batch, ev.FailureKind.BAD_INPUT, "MediaError", "no video"))
    assert (only(commands, ev.Commit)[0].attempts, only(commands, ev.Commit)[0].failure.stage) == (1, "probe")


def test_lost_data_starts_again_from_the_source():
    state, calls = started("a", "b", "c", "d")
    commands = play(state, ev.BatchFailed(calls["t2i_a"].batch, ev.FailureKind.DATA_LOST, "ObjectLostError", "gone"))
    assert {call.stage.name for call in only(commands, ev.Submit)} == {"decode"}


def test_workers_that_cannot_start_end_the_run_with_the_cause():
    state = State(policy())
    play(state, ev.Tick(), ev.RowsArrived(("a",), True))
    commands = play(state, *[ev.WorkerLost(f"t2v-{n}", "no such weights") for n in (1, 3, 4)])
    assert only(commands, ev.Abort)[0].reason == "t2v workers cannot start: no such weights"


def test_a_stop_starts_nothing_new_and_ends_when_the_running_calls_have():
    state, _ = started("a", "b", "c", "d", "e")
    assert not play(state, ev.StopRequested())
    running = list(state.batches)
    commands = play(state, *[ev.BatchDone(number) for number in running])
    assert not only(commands, ev.Submit)
    assert only(commands, ev.Finish)[0].interrupted


def test_a_run_without_progress_ends_with_a_named_cause():
    state, _ = started("a", "b", "c", "d")
    assert not only(play(state, ev.Tick(), now_s=99.0), ev.Abort)
    abort = only(play(state, ev.Tick(), now_s=101.0), ev.Abort)[0]
    assert "t2i-0 has not finished t2i_a of a, b, c" in abort.reason


def test_an_empty_run_finishes():
    commands = play(State(policy()), ev.Tick(), ev.RowsArrived((), True))
    assert not only(commands, ev.Finish)[0].interrupted
