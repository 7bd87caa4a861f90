from evs_batch.scheduling import events as ev
from evs_batch.scheduling.policy import Pool
from evs_batch.scheduling.queues import Queue
from evs_batch.scheduling.state import State
from evs_batch.spec.recipe import parse_recipe
from evs_batch.spec.work import Unit, path
from tests.scheduling.world import SIZE, clips_of, only, play, policy, started, up


def test_a_run_begins_with_its_workers_and_its_rows():
    commands = play(State(policy()), ev.Tick())
    assert [command.role for command in only(commands, ev.StartWorker)] == ["t2i", "t2v", "media"]
    assert only(commands, ev.WantRows)[0].count == 8


def test_frames_of_several_clips_share_a_call_up_to_its_limit():
    _, calls = started("a", "b", "c", "d", "e")
    assert clips_of(calls["t2i_a"]) == ("a", "b", "c", "d")
    assert calls["t2i_a"].reason == "a full call"


def test_both_models_work_at_once_on_different_clips():
    state, _ = started("a", "b", call_frames={"t2i": 16, "t2v": 16})
    commands = play(state, ev.BatchDone(state.crew.all["t2i-0"].calls[0]))
    assert [(call.stage.name, clips_of(call)) for call in only(commands, ev.Submit)] == [("t2v", ("a",))]
    running = {state.policy.path[batch.at].name: tuple(u.clip for u in batch.units) for batch in state.batches.values()}
    assert running == {"t2i_a": ("b",), "t2v": ("a",)}, "while clip k is in T2V, clip k+1 is in T2I"


def test_later_stages_go_first():
    state, _ = started("a", "b", "c", calls_in_flight=1, call_frames={"t2i": 16, "t2v": 16})
    play(state, ev.BatchDone(state.crew.all["t2i-0"].calls[0]))
    play(state, ev.BatchDone(state.crew.all["t2v-1"].calls[0]))
    commands = play(state, ev.BatchDone(state.crew.all["t2i-0"].calls[0]))
    assert [clips_of(call) for call in only(commands, ev.Submit) if call.stage.name == "t2i_b"] == [("a",)]


def test_at_the_end_of_a_run_long_segments_go_first():
    queue = Queue()
    for order, frames in enumerate([8, 16, 64, 8]):
        queue.put(order, Unit(f"clip{order}"), frames)
    assert [unit.clip for unit in queue.fill(72, longest=True)] == ["clip2", "clip0"]
    assert [unit.clip for unit in queue.fill(72)] == ["clip1", "clip3"]


def test_media_workers_come_as_models_need_them():
    both = {"model": Pool(2, ("t2i", "t2v")), "media": Pool(3, ("media",))}
    state = State(policy(pools=both, calls_in_flight=1))
    commands = play(state, ev.Tick(), ev.RowsArrived(("a", "b", "c", "d"), True))
    first = only(commands, ev.StartWorker)
    assert sorted(command.pool for command in first) == ["media", "model", "model"]
    media, *models = sorted(command.worker for command in first)
    play(state, up(media))
    commands = play(state, *[ev.WorkerUp(name, "t2i", frozenset(["t2i"])) for name in models], now_s=1.0)
    assert [command.pool for command in only(commands, ev.StartWorker)] == ["media"], "one more, for models are idle"
    assert not only(play(state, ev.Tick(), now_s=2.0), ev.StartWorker), "no third before the second is there"


def test_an_idle_worker_waits_for_a_full_call_but_not_for_ever():
    state, calls = started("a", exhausted=False)
    assert "t2i_a" not in calls
    assert not only(play(state, ev.Tick(), now_s=0.5), ev.Submit)
    late = only(play(state, ev.Tick(), now_s=1.5), ev.Submit)
    assert (clips_of(late[0]), "has waited 1.5 s" in late[0].reason) == (("a",), True)


def test_credits_hold_clips_back_until_others_are_done():
    state, _ = started("a", "b", "c", budget_bytes=25)
    assert state.admitted_bytes == 20
    assert list(state.waiting) == ["c"]


def test_only_so_many_frames_are_in_flight_for_each_worker():
    state, _ = started(*"abcdefghijkl", budget_bytes=1000, calls_ahead=1)
    assert state.policy.frames_ahead == 128
    assert (state.admitted_frames, list(state.waiting)) == (128, ["i", "j", "k", "l"])


def test_a_call_does_not_wait_for_clips_that_wait_for_memory():
    _, calls = started("a", "b", exhausted=False, budget_bytes=15)
    assert (clips_of(calls["t2i_a"]), calls["t2i_a"].reason) == (("a",), "nothing more can come")


def test_a_clip_larger_than_the_whole_budget_fails_with_the_way_out():
    state = State(policy(budget_bytes=5))
    commands = play(state, ev.Tick(), ev.RowsArrived(("a",), True), up("media-2"))
    probe = only(commands, ev.Submit)[0]
    commands = play(state, ev.BatchDone(probe.batch, {"a": SIZE}))
    failure = only(commands, ev.Commit)[0].failure
    assert (failure.type, "raise runtime.memory_gb" in failure.message) == ("TooLarge", True)
    assert only(commands, ev.Finish)


def test_the_budget_follows_the_cluster_and_a_clip_that_was_promised_room_gets_it():
    state, _ = started("a", "b", "c", budget_bytes=25)
    assert state.admitted == 2
    play(state, ev.PoolsChanged(state.policy.pools, 35))
    assert state.admitted == 3
    state = State(policy(budget_bytes=25))
    commands = play(state, ev.Tick(), ev.RowsArrived(("a", "b"), True), up("media-2"))
    probes = only(commands, ev.Submit)
    play(state, ev.PoolsChanged(state.policy.pools, 5))
    done = play(state, *(ev.BatchDone(p.batch, {u.clip: SIZE for u in p.units}) for p in probes))
    assert (state.admitted, only(done, ev.Commit)) == (1, []), "alone, for 5 bytes are less than anybody needs"


def test_a_lost_worker_is_replaced_and_each_of_its_calls_is_tried_again_alone():
    """Either may have done it: the second begins while the results of the first are on their way."""
    state, _ = started("a", "b", "c", call_frames={"t2i": 16, "t2v": 16})
    commands = play(state, ev.WorkerLost("t2i-0", "killed"))
    assert [command.role for command in only(commands, ev.StartWorker)] == ["t2i"]
    new = only(commands, ev.StartWorker)[0].worker
    (first,) = only(play(state, up(new)), ev.Submit)
    assert (clips_of(first), first.reason) == (("a",), "replayed alone after a failure")
    (second,) = [call for call in only(play(state, ev.BatchDone(first.batch)), ev.Submit) if call.worker == new]
    assert (clips_of(second), second.reason) == (("b",), "replayed alone after a failure")
    assert (state.clips["a"].attempts, state.clips["b"].attempts) == (1, 1)
    commands = play(state, ev.WorkerLost(new, "killed"))
    assert (state.clips["a"].attempts, state.clips["b"].attempts) == (1, 2), "alone, it was b"


def test_calls_of_a_worker_that_is_lost_with_its_node_are_nobodys_fault():
    state, _ = started("a", "b", call_frames={"t2i": 16, "t2v": 16})
    commands = play(state, ev.WorkerLost("t2i-0", "its node is gone", with_node=True))
    calls = only(play(state, up(only(commands, ev.StartWorker)[0].worker)), ev.Submit)
    assert [(clips_of(call), call.reason) for call in calls] == [(("a",), "a full call"), (("b",), "a full call")]
    assert (state.clips["a"].attempts, state.clips["b"].attempts) == (1, 1)


def test_pools_grow_and_shrink_with_the_cluster():
    state, _ = started("a", pools={"model": Pool(1, ("t2i", "t2v")), "media": Pool(1, ("media",))})
    grown = play(state, ev.PoolsChanged({"model": Pool(3, ("t2i", "t2v")), "media": Pool(1, ("media",))}, 100))
    first, second = (command.worker for command in only(grown, ev.StartWorker))
    play(state, ev.WorkerUp(first, "t2i", frozenset(["t2i"])))
    shrunk = play(state, ev.PoolsChanged({"model": Pool(2, ("t2i", "t2v")), "media": Pool(1, ("media",))}, 100))
    assert [command.worker for command in only(shrunk, ev.StopWorker)] == [second], "the one that has not come up"
    gone = play(state, ev.PoolsChanged({"model": Pool(1, ("t2i", "t2v")), "media": Pool(1, ("media",))}, 100))
    gone += play(state, ev.WorkerLost(first, "its node is gone", with_node=True))
    assert not only(gone, ev.StartWorker), "there is no room for another one"


def test_a_failed_call_is_halved_until_the_guilty_clip_is_alone():
    state, calls = started("a", "b", "c", "d")
    seen, failing = [], [calls["t2i_a"]]
    while failing:
        call = failing.pop(0)
        seen.append(clips_of(call))
        event = (
            ev.BatchFailed(call.batch, ev.FailureKind.ERROR, "Boom", "c is poison")
            if "c" in clips_of(call)
            else ev.BatchDone(call.batch)
        )
        commands = play(state, event)
        failing += [c for c in only(commands, ev.Submit) if c.stage.name == "t2i_a"]
    assert seen[:5] == [("a", "b", "c", "d"), ("a", "b"), ("c", "d"), ("c",), ("d",)]
    assert seen[5:] == [("c",), ("c",)], "three attempts of its own"
    assert only(commands, ev.Commit)[0].failure.message == "c is poison"


def test_what_did_not_fit_the_memory_is_not_tried_again():
    state, calls = started("a", "b", "c", "d", *"efgh", budget_bytes=1000, calls_in_flight=1)
    commands = play(state, ev.BatchFailed(calls["t2i_a"].batch, ev.FailureKind.OUT_OF_MEMORY, "MemoryError", "full"))
    while state.batches:
        sizes = [len(call.units) for call in only(commands, ev.Submit) if call.stage.name == "t2i_a"]
        assert max(sizes, default=0) <= 2, "half of what was too much, for clips that have not been tried yet too"
        commands = play(state, *[ev.BatchDone(number) for number in list(state.batches)], ev.Tick(), now_s=9.0)
    assert not state.clips


def test_bad_input_fails_at_once():
    state = State(policy())
    commands = play(state, ev.Tick(), ev.RowsArrived(("a",), True), up("media-2"))
    call = only(commands, ev.Submit)[0]
    commands = play(state, ev.BatchFailed(call.batch, ev.FailureKind.BAD_INPUT, "MediaError", "no video"))
    assert (only(commands, ev.Commit)[0].attempts, only(commands, ev.Commit)[0].failure.stage) == (1, "probe")


def test_only_the_clip_whose_data_is_lost_starts_again_from_its_source_and_that_is_no_attempt():
    state, _ = started("a", "b", "c", "d")
    lost = (ev.FailureKind.DATA_LOST, "ObjectLostError", "gone")
    for _ in range(3):  # calls of four, of two, of one
        while not (found := [n for n, b in state.batches.items() if b.units[0].clip == "a" and b.at == 2]):
            play(state, *[ev.BatchDone(number) for number, b in state.batches.items() if b.at == 2])
        play(state, ev.BatchFailed(found[0], *lost))
    (batch,) = [batch for batch in state.batches.values() if batch.units[0].clip == "a"]
    assert (state.policy.path[batch.at].name, len(batch.units)) == ("decode", 1)
    assert {name: (clip.attempts, clip.losses) for name, clip in state.clips.items()} == {
        "a": (1, 1), "b": (1, 0), "c": (1, 0), "d": (1, 0)
    }  # fmt: skip


def test_workers_that_cannot_start_end_the_run_with_the_cause():
    state = State(policy())
    play(state, ev.Tick(), ev.RowsArrived(("a",), True))
    commands = play(state, *[ev.WorkerLost(f"t2v-{n}", "no such weights") for n in (1, 3, 4)])
    assert only(commands, ev.Abort)[0].reason == "t2v workers cannot start: no such weights"


def test_what_no_worker_could_load_ends_the_run_with_the_first_one():
    state = State(policy())
    play(state, ev.Tick(), ev.RowsArrived(("a",), True))
    commands = play(state, ev.WorkerLost("t2v-1", "a recipe that cannot be", hopeless=True))
    assert only(commands, ev.Abort)[0].reason == "t2v workers cannot start: a recipe that cannot be"


def test_a_role_that_cannot_be_loaded_ends_the_run_even_if_the_other_one_can():
    state = State(policy(pools={"model": Pool(2, ("t2i", "t2v")), "media": Pool(1, ("media",))}))
    commands = play(state, ev.Tick(), ev.RowsArrived(("a",), True))
    for _ in range(2):
        roles = {command.worker: command.role for command in only(commands, ev.StartWorker)}
        t2i = [ev.WorkerUp(name, "t2i", frozenset(["t2i"])) for name, role in roles.items() if role == "t2i"]
        t2v = [ev.WorkerLost(name, "no such weights") for name, role in roles.items() if role == "t2v"]
        commands = play(state, *t2v, *t2i)
    commands = play(
        state, *[ev.WorkerLost(command.worker, "no such weights") for command in only(commands, ev.StartWorker)]
    )
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


def test_where_times_are_known_a_hang_is_found_much_earlier():
    alone = path(parse_recipe({"composition": "T2I"}))
    state, _ = started(*"abcdefgh", stall_s=10_000.0, path=alone, budget_bytes=1000)
    first, second = state.crew.all["t2i-0"].calls
    play(state, ev.BatchDone(first, seconds=3.2), now_s=10.0)
    while others := state.batches.keys() - {second}:
        play(state, *[ev.BatchDone(number, seconds=0.1) for number in others], now_s=10.0)
    assert not play(state, ev.Tick(), now_s=169.0), "50 times as long is still patience"
    commands = play(state, ev.Tick(), now_s=170.0)
    assert only(commands, ev.StopWorker)[0].reason == (
        "t2i-0 has not finished t2i_a of e, f, g (3.2 s is usual) after 160 s"
    )
    (half,) = only(play(state, up(only(commands, ev.StartWorker)[0].worker)), ev.Submit)
    assert clips_of(half) == ("e", "f"), "the innocent are found as after an error"


def hang_for_ever(state: State, times: int) -> list[ev.Command]:
    """Whatever is called hangs, and every worker is replaced."""
    said = []
    for turn in range(1, times + 1):
        commands = play(state, ev.Tick(), now_s=6.0 * turn)
        said += commands
        said += play(state, *[up(found.worker) for found in only(commands, ev.StartWorker)], now_s=6.0 * turn)
    return said


def test_a_clip_that_hangs_fails_when_its_attempts_are_spent():
    state, _ = started("a", "b", timeout_s=5.0, stall_s=1e9)
    failed = only(hang_for_ever(state, 8), ev.Commit)
    assert {command.clip: (command.failure.kind, command.attempts) for command in failed} == {
        "a": (ev.FailureKind.HUNG, 3), "b": (ev.FailureKind.HUNG, 3)
    }  # fmt: skip


def test_calls_that_hang_one_after_the_other_end_the_run():
    state, _ = started("a", timeout_s=5.0, stall_s=1e9, max_attempts=99)
    assert not only(hang_for_ever(state, 9), ev.Abort)
    (abort,) = only(play(state, ev.Tick(), now_s=99.0), ev.Abort)
    assert abort.reason.startswith("10 calls have hung, one after the other: t2i-")


def test_an_empty_run_finishes():
    commands = play(State(policy()), ev.Tick(), ev.RowsArrived((), True))
    assert not only(commands, ev.Finish)[0].interrupted
