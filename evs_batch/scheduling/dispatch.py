"""Who works on what: admission by bytes, later stages first, full calls before partial ones."""

from collections.abc import Iterator
from dataclasses import dataclass

from evs_batch.scheduling.events import Failure, FailureKind, Submit
from evs_batch.scheduling.state import Batch, ClipState, State, WorkerState
from evs_batch.spec.work import Role

ADMISSION = 1  # the probe is free; every later stage needs a credit


@dataclass(frozen=True)
class Pick:
    """Clips for one call."""

    at: int
    clips: tuple[str, ...]
    reason: str


def admit(state: State, now_s: float) -> Iterator[tuple[ClipState, Failure]]:
    """Give credits to waiting clips in their order; yields those that are larger than the whole budget."""
    while state.waiting:
        clip = state.clips[state.waiting[0]]
        assert clip.size, "clips are probed before they wait"
        if clip.size.bytes > state.policy.budget_bytes:
            state.waiting.popleft()
            yield clip, _too_large(clip, state.policy.budget_bytes)
            continue
        if state.admitted_bytes + clip.size.bytes > state.policy.budget_bytes:
            return
        state.waiting.popleft()
        clip.admitted = True
        state.admitted_bytes += clip.size.bytes
        state.enqueue(clip, now_s)


def submit_all(state: State, now_s: float) -> Iterator[Submit]:
    """Fill free workers until there is nothing left to do or nobody to do it."""
    for role in state.policy.workers:
        while found := _free_worker(state, role):
            name, worker = found
            pick = _pick(state, role, now_s, idle=not worker.calls)
            if pick is None:
                break
            yield _submit(state, pick, name, worker)


def _free_worker(state: State, role: Role) -> tuple[str, WorkerState] | None:
    """The least loaded worker of a role with room for another call."""
    limit = state.policy.calls_in_flight
    free = [(n, w) for n, w in state.workers.items() if w.role == role and w.up and len(w.calls) < limit]
    return min(free, key=lambda found: len(found[1].calls), default=None)


def _pick(state: State, role: Role, now_s: float, *, idle: bool) -> Pick | None:
    """Replays, then full calls, then, for an idle worker, calls for which waiting does not pay; later stages first."""
    stages = [at for at in reversed(range(len(state.policy.path))) if state.policy.path[at].role == role]
    for at in stages:
        if state.replays.get(at):
            return Pick(at, state.replays[at].popleft(), "replayed alone after a failure")
    partial = None
    for at in stages:
        for key in [key for key in state.ready if key[0] == at]:
            clips, full = _fill(state, key, state.policy.call_frames.get(role, 0))
            if full:
                return _take(state, key, clips, "a full call")
            reason = _not_worth_waiting(state, at, clips[0], now_s) if idle and partial is None else None
            partial = (key, clips, reason) if reason else partial
    return _take(state, *partial) if partial else None


def _fill(state: State, key: tuple[int, tuple[int, int]], limit_frames: int) -> tuple[list[str], bool]:
    """The oldest ready clips of one stage and shape that fit a call, and whether it is full."""
    clips, frames = [], 0
    for _, name in state.ready[key]:
        size = state.clips[name].size
        count = size.frames if size else 1
        if clips and frames + count > limit_frames:
            return clips, True
        clips.append(name)
        frames += count
    return clips, frames >= limit_frames


def _not_worth_waiting(state: State, at: int, oldest: str, now_s: float) -> str | None:
    waited_s = now_s - state.clips[oldest].ready_s
    if waited_s >= state.policy.max_wait_s:
        return f"an idle worker, and the oldest clip has waited {waited_s:.1f} s"
    if state.exhausted and not any(state.clips_at[earlier] for earlier in range(at)):
        return "nothing more can come"
    return None


def _take(state: State, key: tuple[int, tuple[int, int]], clips: list[str], reason: str) -> Pick:
    """The clips are the head of their queue."""
    del state.ready[key][: len(clips)]
    if not state.ready[key]:
        del state.ready[key]
    return Pick(key[0], tuple(clips), reason)


def _submit(state: State, pick: Pick, name: str, worker: WorkerState) -> Submit:
    batch = Batch(state.next_batch, pick.at, pick.clips, name)
    state.next_batch += 1
    state.batches[batch.number] = batch
    worker.calls.append(batch.number)
    return Submit(
        batch=batch.number, worker=name, stage=state.policy.path[pick.at], clips=pick.clips, reason=pick.reason
    )


def _too_large(clip: ClipState, budget_bytes: int) -> Failure:
    assert clip.size
    message = (
        f"{clip.size.frames} frames need {clip.size.bytes / 1e9:.2f} GB: must be at most the budget of "
        f"{budget_bytes / 1e9:.2f} GB; raise runtime.memory_gb or cut the video"
    )
    return Failure(kind=FailureKind.TOO_LARGE, stage="admission", type="TooLarge", message=message)
