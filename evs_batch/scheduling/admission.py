"""Which clips may begin: memory is bounded by credits in bytes."""

import math
from collections.abc import Iterator, Sequence

from evs_batch.scheduling.events import Failure, FailureKind, Size
from evs_batch.scheduling.policy import Policy
from evs_batch.scheduling.state import ClipState, Credit, State
from evs_batch.spec.work import Stage

CALLS_AHEAD = 4  # of a long clip, beyond the segments that wait for each other: they keep both pools busy


def admit(state: State, now_s: float) -> Iterator[tuple[ClipState, Failure]]:
    """Give credits to waiting clips in their order; yields those that are larger than the budget has ever been.

    Where nodes have left, a clip that is too large for the others is alone.
    """
    while state.waiting:
        clip, budget_bytes = state.clips[state.waiting[0]], state.policy.budget_bytes
        assert clip.size, "clips are probed before they wait"
        if state.admitted and state.admitted_frames >= (state.policy.frames_ahead or math.inf):
            return
        most = _segments_ahead(state.policy, clip.size)
        credits = [credit(state.policy.path, clip.size, ahead) for ahead in range(most, -1, -1)]
        if credits[-1].bytes > state.most_bytes:
            state.waiting.popleft()
            yield clip, _too_large(clip, credits[-1], state.most_bytes)
            continue
        given = next((found for found in credits if found.bytes <= budget_bytes), credits[-1])
        if state.admitted and state.admitted_bytes + given.bytes > budget_bytes:
            return
        state.waiting.popleft()
        state.admit(clip, given, now_s)


def credit(path: Sequence[Stage], size: Size, ahead: int = 0) -> Credit:
    """What a clip needs to go on, with some segments ahead of those that wait for each other.

    For its last stage a segment waits for its neighbours, for the one before that for their neighbours, and so on.
    Where a stage looks at pixels of neighbours, a segment and those on each side of it may hold them besides.
    """
    count, neighbours = size.segments.count, [size.segments.neighbours(stage) for stage in path]
    lent = max((n for n, stage in zip(neighbours, path, strict=True) if "frames" in stage.needs), default=0)
    around = 2 * lent + 1 if lent else 0
    behind = max(neighbours) + any(stage.first for stage in path)  # done, but others still look at them
    held = min(count, behind + 1 + sum(neighbours) + ahead)
    with_pixels = min(count, max(1, ahead))
    kept = count > 1 and any(stage.first and "frames" in stage.needs for stage in path)
    return Credit(
        bytes=(min(count, with_pixels + around) + kept) * size.pixel_bytes + held * size.latent_bytes,
        frames=-(-held * size.segments.frames // count),
        with_pixels=with_pixels,
        lent=lent,
        held=held,
        ahead=held if held == count else held - behind,
    )


def _segments_ahead(policy: Policy, size: Size) -> int:
    if size.segments.count == 1:
        return 0
    call_frames = max(policy.call_frames.values(), default=0)
    return -(-CALLS_AHEAD * max(1, call_frames * size.segments.count) // size.segments.frames)


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
