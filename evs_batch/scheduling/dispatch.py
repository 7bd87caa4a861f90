"""Who works on what: admission by bytes, later stages first, full calls before partial ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evs_batch.scheduling.events import Failure, FailureKind, Size, Submit
from evs_batch.scheduling.state import Batch, ClipState, Credit, State, WorkerState
from evs_batch.spec.work import Role, Stage, Unit

SEGMENTS_AHEAD = 4  # of a long clip, beyond those that wait for each other: they keep both pools busy


@dataclass(frozen=True)
class Pick:
    """Segments for one call."""

    at: int
    units: tuple[Unit, ...]
    reason: str


def admit(state: State, now_s: float) -> Iterator[tuple[ClipState, Failure]]:
    """Give credits to waiting clips in their order; yields those that are larger than the whole budget."""
    while state.waiting:
        clip = state.clips[state.waiting[0]]
        assert clip.size, "clips are probed before they wait"
        credits = [credit(state.policy.path, clip.size, ahead) for ahead in range(SEGMENTS_AHEAD, -1, -1)]
        fitting = [found for found in credits if found.bytes <= state.policy.budget_bytes]
        if not fitting:
            state.waiting.popleft()
            yield clip, _too_large(clip, credits[-1], state.policy.budget_bytes)
            continue
        if state.admitted_bytes + fitting[0].bytes > state.policy.budget_bytes:
            return
        state.waiting.popleft()
        state.admit(clip, fitting[0], now_s)


def credit(path: Sequence[Stage], size: Size, ahead: int = 0) -> Credit:
    """What a clip needs to go on, with some segments ahead of those that wait for each other.

    For its last stage a segment waits for its neighbours, for the one before that for their neighbours, and so on.
    """
    count, neighbours = size.segments.count, [size.segments.neighbours(stage) for stage in path]
    behind = max(neighbours) + any(stage.first for stage in path)  # done, but others still look at them
    held = min(count, behind + 1 + sum(neighbours) + ahead)
    with_pixels = min(count, max(1, ahead))
    kept = count > 1 and any(stage.first and "frames" in stage.needs for stage in path)
    return Credit(
        bytes=(with_pixels + kept) * size.pixel_bytes + held * size.latent_bytes,
        with_pixels=with_pixels,
        held=held,
        ahead=held if held == count else held - behind,
    )


def submit_all(state: State, now_s: float) -> Iterator[Submit]:
    """Fill free workers until there is nothing left to do or nobody to do it."""
    for role in state.policy.workers:
        while call := _next_call(state, role, now_s):
            yield call


def _next_call(state: State, role: Role, now_s: float) -> Submit | None:
    """A call for a worker of a role with room for another one, the least loaded first."""
    limit = state.policy.calls_in_flight
    free = [(n, w) for n, w in state.workers.items() if w.role == role and w.up and len(w.calls) < limit]
    for name, worker in sorted(free, key=lambda found: len(found[1].calls)):
        if pick := _pick(state, role, name, now_s, idle=not worker.calls):
            return _submit(state, pick, name, worker)
    return None


def _pick(state: State, role: Role, worker: str, now_s: float, *, idle: bool) -> Pick | None:
    """Replays, then full calls, then, for an idle worker, calls for which waiting does not pay; later stages first."""
    stages = [at for at in reversed(range(len(state.policy.path))) if state.policy.path[at].role == role]
    for at in stages:
        if state.replays.get(at):
            return Pick(at, state.replays[at].popleft(), "replayed alone after a failure")
    partial = None
    for at in stages:
        for key in [key for key in state.ready if key[0] == at]:
            units, full = _fill(state, key, worker, state.policy.call_frames.get(role, 0))
            if full:
                return _take(state, key, units, "a full call")
            if units and idle and partial is None and (reason := _not_worth_waiting(state, at, units[0], now_s)):
                partial = (key, units, reason)
    return _take(state, *partial) if partial else None


def _fill(state: State, key: tuple[int, tuple[int, int]], worker: str, limit_frames: int) -> tuple[list[Unit], bool]:
    """The oldest ready segments of one stage and shape that fit a call, and whether one more would not."""
    units, frames, count = [], 0, 0
    for _, unit in state.ready[key]:
        clip = state.clips[unit.clip]
        if state.policy.path[key[0]].in_turn and clip.reader in state.workers and clip.reader != worker:
            continue
        count = clip.frames(unit.segment)
        if units and frames + count > limit_frames:
            return units, True
        units.append(unit)
        frames += count
    return units, bool(units) and frames + count > limit_frames


def _not_worth_waiting(state: State, at: int, oldest: Unit, now_s: float) -> str | None:
    waited_s = now_s - state.unit(oldest).ready_s
    if waited_s >= state.policy.max_wait_s:
        return f"an idle worker, and the oldest clip has waited {waited_s:.1f} s"
    if state.exhausted and not any(state.units_at[earlier] for earlier in range(at)):
        return "nothing more can come"
    return None


def _take(state: State, key: tuple[int, tuple[int, int]], units: list[Unit], reason: str) -> Pick:
    taken = set(units)
    state.ready[key] = [entry for entry in state.ready[key] if entry[1] not in taken]
    if not state.ready[key]:
        del state.ready[key]
    return Pick(key[0], tuple(units), reason)


def _submit(state: State, pick: Pick, name: str, worker: WorkerState) -> Submit:
    batch, stage = Batch(state.next_batch, pick.at, pick.units, name), state.policy.path[pick.at]
    state.next_batch += 1
    state.batches[batch.number] = batch
    worker.calls.append(batch.number)
    if stage.in_turn:
        for unit in pick.units:
            state.clips[unit.clip].reader = name
    return Submit(batch=batch.number, worker=name, stage=stage, units=pick.units, reason=pick.reason)


def _too_large(clip: ClipState, least: Credit, budget_bytes: int) -> Failure:
    assert clip.size
    segments, way_out = clip.size.segments, "raise runtime.memory_gb or lower runtime.segment_frames"
    held = f"{segments.frames} frames"
    if least.held > 1:
        held = f"{least.held} segments of {len(segments.span(0))} frames that wait for each other"
        way_out += ", t2v.context or the number of blocks"
    message = (
        f"{held} need {least.bytes / 1e9:.2f} GB: must be at most the budget of {budget_bytes / 1e9:.2f} GB; {way_out}"
    )
    return Failure(kind=FailureKind.TOO_LARGE, stage="admission", type="TooLarge", message=message)
