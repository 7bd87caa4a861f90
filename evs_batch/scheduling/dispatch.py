"""Who works on what: later stages first, full calls before partial ones."""

from collections.abc import Iterator

from evs_batch.scheduling.events import Submit
from evs_batch.scheduling.queues import Key, Queue
from evs_batch.scheduling.state import Batch, State
from evs_batch.spec.work import Role, Unit

SMALLEST_CALL = 0.25  # of a full one, at the end of a run


def submit_all(state: State, now_s: float) -> Iterator[Submit]:
    """Fill free workers until there is nothing left to do or nobody to do it."""
    while call := _replay(state, now_s) or _full_call(state, now_s) or _partial_call(state, now_s):
        yield call


def _later_first(state: State) -> range:
    return range(len(state.policy.path) - 1, -1, -1)


def _replay(state: State, now_s: float) -> Submit | None:
    """On a worker that has nothing else, so that it is clear whose fault it is if that dies."""
    for at in _later_first(state):
        if state.replays.get(at) and (worker := _worker(state, at, spare=False)):
            units = state.replays[at].popleft()
            return _submit(state, at, units, worker, "replayed alone after a failure", now_s, alone=True)
    return None


def _full_call(state: State, now_s: float) -> Submit | None:
    for at in _later_first(state):
        for key, queue in state.queues.at(at):
            if queue.frames >= _limit(state, at, key) and (worker := _worker(state, at, key.reader, spare=True)):
                return _submit(state, at, _fill(state, at, key, queue), worker, "a full call", now_s)
    return None


def _partial_call(state: State, now_s: float) -> Submit | None:
    """For an idle worker, where waiting for a full call does not pay."""
    for at in _later_first(state):
        for key, queue in state.queues.at(at):
            reason = _not_worth_waiting(state, at, queue, now_s)
            if reason and (worker := _worker(state, at, key.reader, spare=False)):
                return _submit(state, at, _fill(state, at, key, queue), worker, reason, now_s)
    return None


def _worker(state: State, at: int, reader: str = "", *, spare: bool) -> str | None:
    role = state.policy.path[at].role
    spare = spare and not any(state.replays.get(other) for other in _stages(state, role))  # they wait for idle workers
    if reader:
        return reader if state.crew.has_room(reader, spare=spare) else None
    return state.crew.free(role, spare=spare)


def _stages(state: State, role: Role) -> Iterator[int]:
    return (at for at, stage in enumerate(state.policy.path) if stage.role == role)


def _fill(state: State, at: int, key: Key, queue: Queue) -> tuple[Unit, ...]:
    """The segments of a call: at the end of a run long ones first, for short ones even out what they leave."""
    return queue.fill(_limit(state, at, key), longest=state.ending)


def _limit(state: State, at: int, key: Key) -> int:
    """Frames of a full call that fits the memory; at the end of a run, when there is too little for all, fewer."""
    role = state.policy.path[at].role
    full = state.policy.call_frames.get(role, 0)
    full = min(full, state.most_frames.get((at, key.shape), full))
    if not state.exhausted or len(state.clips) > state.admitted or not full:
        return full
    share = state.admitted_frames // max(1, state.crew.holders[role])
    return max(int(full * SMALLEST_CALL), min(full, share))


def _not_worth_waiting(state: State, at: int, queue: Queue, now_s: float) -> str | None:
    waited_s = now_s - state.unit(queue.oldest).ready_s
    if waited_s >= state.policy.max_wait_s:
        return f"an idle worker, and the oldest clip has waited {waited_s:.1f} s"
    if (state.exhausted or state.waiting) and not any(state.moving(earlier) for earlier in range(at)):
        return "nothing more can come"
    return None


def _submit(
    state: State, at: int, units: tuple[Unit, ...], worker: str, reason: str, now_s: float, *, alone: bool = False
) -> Submit:
    batch, stage = Batch(state.next_batch, at, units, worker), state.policy.path[at]
    state.next_batch += 1
    state.batches[batch.number] = batch
    state.crew.give(worker, batch.number, now_s, alone=alone)
    if stage.in_turn:
        for unit in units:
            state.clips[unit.clip].reader = worker
    return Submit(batch=batch.number, worker=worker, stage=stage, units=units, reason=reason)
