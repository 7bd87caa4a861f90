"""One step of the scheduler: an event changes the state, and the state says what to do next."""

from collections.abc import Iterator
from dataclasses import replace

from evs_batch.scheduling import admission, dispatch, roles, watch
from evs_batch.scheduling.crew import WorkerState
from evs_batch.scheduling.events import (
    Abort,
    BatchDone,
    BatchFailed,
    Command,
    Commit,
    Event,
    Failure,
    FailureKind,
    Finish,
    Forget,
    PoolsChanged,
    RowsArrived,
    StartWorker,
    StopRequested,
    StopWorker,
    Tick,
    WantRows,
    WorkerLeaves,
    WorkerLost,
    WorkerUp,
)
from evs_batch.scheduling.retry import decide
from evs_batch.scheduling.state import ADMISSION, Batch, ClipState, State, UnitState


def step(state: State, event: Event, now_s: float) -> list[Command]:
    """Take one event; returns what to do, each command with its reason. `now_s` must not go back."""
    if state.ended:
        return []
    if not isinstance(event, Tick) or state.progress_s is None:
        state.progress_s = now_s
    commands = [*_HANDLERS[type(event)](state, event, now_s), *_plan(state, now_s)]
    state.ended = any(isinstance(command, (Finish, Abort)) for command in commands)
    return commands


def _rows_arrived(state: State, event: RowsArrived, now_s: float) -> Iterator[Command]:
    state.asked, state.exhausted = False, event.exhausted
    for key in event.clips:
        assert key not in state.clips, "a clip arrives once"
        state.clips[key] = clip = ClipState(key, state.next_order)
        state.next_order += 1
        state.enqueue(state.open(clip, 0, at=0), now_s)
    yield from ()


def _worker_up(state: State, event: WorkerUp, now_s: float) -> Iterator[Command]:
    state.crew.loaded(event.worker, event.held)
    state.pace.load(event.role, event.load_s)
    state.start_failures[event.role] = 0
    yield from ()


def _worker_lost(state: State, event: WorkerLost, now_s: float) -> Iterator[Command]:
    worker = state.crew.all.get(event.worker)
    if worker is None:
        return
    if worker.loading and not event.with_node:
        state.start_failures[worker.loading] += 1
        if event.hopeless or state.start_failures[worker.loading] >= state.policy.max_start_failures:
            yield Abort(reason=f"{worker.loading} workers cannot start: {event.cause}")
            return
    kind = None if event.with_node else FailureKind.WORKER_DIED
    yield from _gone(state, event.worker, kind, "WorkerDied", event.cause, now_s)


def _gone(
    state: State, name: str, kind: FailureKind | None, error_type: str, cause: str, now_s: float
) -> Iterator[Command]:
    """What becomes of the calls of a worker that is gone; without a `kind` of failure they had no part in it.

    A call begins while the results of the one before it are still on their way: if a worker that has several dies,
    any of them may have done it.
    """
    worker = state.crew.remove(name)
    assert worker, "a worker goes once"
    _adopt(state, name, now_s)
    for place, number in enumerate(worker.calls):
        batch = state.batches.pop(number)
        if kind and (len(worker.calls) == 1 or (kind is FailureKind.HUNG and place == 0)):
            yield from _failed(state, batch, kind, error_type, cause, now_s)
        elif kind is FailureKind.WORKER_DIED and batch.units:
            state.replay(batch.at, batch.units)
        else:
            for unit in batch.units:
                state.enqueue(state.unit(unit), now_s)


def _adopt(state: State, worker: str, now_s: float) -> None:
    """Offer to all others what only a worker that is gone could do."""
    for unit in state.queues.orphans(worker):
        state.enqueue(state.unit(unit), now_s)


def _worker_leaves(state: State, event: WorkerLeaves, now_s: float) -> Iterator[Command]:
    if event.worker in state.crew.all and not state.crew.all[event.worker].leaves:
        state.crew.leave(event.worker)
    yield from ()


def _pools_changed(state: State, event: PoolsChanged, now_s: float) -> Iterator[Command]:
    state.policy = replace(state.policy, pools=event.pools, budget_bytes=event.budget_bytes)
    state.most_bytes = max(state.most_bytes, event.budget_bytes)
    starting = [(name, worker.pool) for name, worker in state.crew.all.items() if not worker.up]
    for name, pool in starting:
        if state.crew.present[pool] > event.pools[pool].size:
            state.crew.remove(name)
            yield StopWorker(worker=name, reason=f"{event.pools[pool].size} {pool} workers are wanted now")


def _batch_done(state: State, event: BatchDone, now_s: float) -> Iterator[Command]:
    batch = _close(state, event.batch, now_s)
    if batch is None or not batch.units:
        return
    state.hangs = 0
    if usual_s := watch.expected_s(state, batch):
        state.crew.measured(batch.worker, usual_s / max(1e-6, event.seconds))
    state.pace.call(batch.at, sum(state.clips[unit.clip].frames(unit.segment) for unit in batch.units), event.seconds)
    for unit in batch.units:
        clip = state.clips[unit.clip]
        if size := event.sizes.get(unit.clip):
            clip.size, clip.done = size, set(size.done)
            clip.ends = size.segments.ends(state.policy.path, size.done)
        state.move(clip.units[unit.segment], batch.at + 1)
        yield from _arrived(state, clip, clip.units[unit.segment], now_s)


def _arrived(state: State, clip: ClipState, unit: UnitState, now_s: float) -> Iterator[Command]:
    """A segment has come to its next stage, or to its end."""
    join, segment = state.policy.join, unit.unit.segment
    if unit.at > join or (unit.at == join and clip.count == 1):
        state.close(unit)
        state.forget(clip)
        yield _commit(clip, None, "all stages are done")
    elif unit.at == ADMISSION:
        state.waiting.append(clip.key)
    elif unit.at < clip.ends[segment]:
        state.enqueue(unit, now_s)
        state.wake(clip, now_s)
    else:
        clip.done |= {segment} if unit.at == join else set()
        state.close(unit)
        state.wake(clip, now_s)
        state.open_more(clip, now_s)


def _batch_failed(state: State, event: BatchFailed, now_s: float) -> Iterator[Command]:
    batch = _close(state, event.batch, now_s)
    if batch is not None:
        yield from _failed(state, batch, event.kind, event.type, event.message, now_s)


def _tick(state: State, event: Tick, now_s: float) -> Iterator[Command]:
    assert state.progress_s is not None
    for name, cause in watch.hung(state, now_s):
        state.hangs, state.progress_s = state.hangs + 1, now_s
        yield StopWorker(worker=name, reason=cause)
        if state.hangs >= watch.MAX_HANGS:
            yield Abort(reason=f"{state.hangs} calls have hung, one after the other: {cause}")
        yield from _gone(state, name, FailureKind.HUNG, "Hung", cause, now_s)
    idle_s = now_s - state.progress_s
    if idle_s >= state.policy.stall_s:
        yield Abort(reason=f"nothing has happened for {idle_s:.0f} s: {watch.what_stalls(state)}")


def _stop_requested(state: State, event: StopRequested, now_s: float) -> Iterator[Command]:
    state.stopping = True
    yield from ()


_HANDLERS = {
    RowsArrived: _rows_arrived,
    WorkerUp: _worker_up,
    WorkerLost: _worker_lost,
    WorkerLeaves: _worker_leaves,
    PoolsChanged: _pools_changed,
    BatchDone: _batch_done,
    BatchFailed: _batch_failed,
    Tick: _tick,
    StopRequested: _stop_requested,
}


def _close(state: State, number: int, now_s: float) -> Batch | None:
    """End a call; None if it was given up with its worker before."""
    batch = state.batches.pop(number, None)
    if batch is not None:
        state.crew.take(batch.worker, number, now_s)
    return batch


def _failed(
    state: State, batch: Batch, kind: FailureKind, error_type: str, message: str, now_s: float
) -> Iterator[Command]:
    units = [state.unit(unit) for unit in batch.units]
    if not units:
        return
    attempts = max(unit.attempts for unit in units)
    losses = max(state.clips[unit.unit.clip].losses for unit in units)
    decision = decide(kind, len(units), attempts, state.policy.max_attempts, losses)
    if decision.action == "split":
        if kind is FailureKind.OUT_OF_MEMORY:
            _learn(state, batch)
        half = len(units) // 2
        state.replay(batch.at, batch.units[:half])
        state.replay(batch.at, batch.units[half:])
        return
    for unit in units:
        clip = state.clips.get(unit.unit.clip)
        if clip is None or unit is not clip.units.get(unit.unit.segment):
            continue  # another segment of its clip has decided already
        if decision.action == "fail":
            stage = state.policy.path[batch.at].name
            failure = Failure(kind=kind, stage=stage, type=error_type, message=message)
            yield _give_up(state, clip, failure, decision.reason)
            continue
        if decision.action == "retry":
            unit.attempts += 1
            clip.attempts = max(clip.attempts, unit.attempts)
            state.replay(batch.at, (unit.unit,))
        else:
            clip.losses += 1
            yield _restart(state, clip, decision.reason, now_s)


def _learn(state: State, batch: Batch) -> None:
    """Calls of pictures of this size get half as many frames from now on, so that none is tried in vain again."""
    first = state.clips[batch.units[0].clip]
    assert first.size, "what runs on a model is probed"
    frames = sum(state.clips[unit.clip].frames(unit.segment) for unit in batch.units)
    state.most_frames[batch.at, first.size.shape] = max(1, frames // 2)


def _restart(state: State, clip: ClipState, reason: str, now_s: float) -> Forget:
    """Segments depend on each other, so that all of a clip start again but those that are done."""
    state.withdraw(clip)
    clip.restarts, clip.opened = clip.attempts - 1, 0
    if clip.size and clip.credit:
        clip.ends = clip.size.segments.ends(state.policy.path, clip.done)
        state.open_more(clip, now_s)
    else:
        state.enqueue(state.open(clip, 0, at=0), now_s)
    return Forget(clip=clip.key, done=frozenset(clip.done), reason=reason)


def _give_up(state: State, clip: ClipState, failure: Failure, reason: str) -> Commit:
    state.forget(clip)
    return _commit(clip, failure, reason)


def _commit(clip: ClipState, failure: Failure | None, reason: str) -> Commit:
    begun_again = clip.attempts > 1 or clip.losses > 0
    return Commit(clip=clip.key, failure=failure, attempts=clip.attempts, begun_again=begun_again, reason=reason)


def _plan(state: State, now_s: float) -> Iterator[Command]:
    """What the state asks for, whatever the event was."""
    if state.stopping:
        if not state.batches:
            yield Finish(interrupted=True, reason="stopped; nothing is running any more")
        return
    if state.exhausted and not state.clips:
        yield Finish(interrupted=False, reason="every row is committed")
        return
    yield from _stop_workers(state, now_s)
    yield from _start_workers(state, now_s)
    for clip, failure in admission.admit(state, now_s):
        yield _give_up(state, clip, failure, "it can never be admitted")
    yield from dispatch.submit_all(state, now_s)
    yield from roles.switch(state, now_s)
    unadmitted = len(state.clips) - state.admitted
    if not state.exhausted and not state.asked and unadmitted < state.policy.lookahead_clips:
        state.asked = True
        yield WantRows(count=state.policy.lookahead_clips, reason=f"{unadmitted} clips are waiting")
    elif state.exhausted and not state.clips:
        yield Finish(interrupted=False, reason="every row is committed")


def _stop_workers(state: State, now_s: float) -> Iterator[Command]:
    for name in [name for name in state.crew.leaving if not state.crew.all[name].calls]:
        state.crew.remove(name)
        _adopt(state, name, now_s)
        yield StopWorker(worker=name, reason="its node is drained, and it has ended its calls")


def _start_workers(state: State, now_s: float) -> Iterator[Command]:
    for name, pool in state.policy.pools.items():
        while state.crew.present[name] < roles.wanted(state, name, now_s):
            worker, role = f"{name}-{state.next_worker}", roles.first_role(state, pool)
            state.next_worker += 1
            state.crew.add(worker, WorkerState(name, pool.roles, pool.keeps, loading=role))
            yield StartWorker(worker=worker, pool=name, role=role, reason=f"{pool.size} {name} workers are wanted")
