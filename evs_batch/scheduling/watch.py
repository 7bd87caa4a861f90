"""Nothing hangs for ever: how long a call may take, and what is said of one that takes longer."""

from collections.abc import Iterator

from evs_batch.scheduling.state import Batch, State

PATIENCE = 50.0  # times the usual time of a call
SHORTEST_S = 60.0
MAX_HANGS = 10  # one after the other, without a call that ends: then it is not the clips


def hung(state: State, now_s: float) -> Iterator[tuple[str, str]]:
    """Workers whose call takes too long, and what it is."""
    for name, worker in list(state.crew.all.items()):
        if worker.calls:
            batch, taken_s = state.batches[worker.calls[0]], now_s - worker.since_s
            if taken_s >= _limit_s(state, batch):
                yield name, f"{_not_finished(state, batch)} after {taken_s:.0f} s"


def expected_s(state: State, batch: Batch) -> float | None:
    """What a call should take; None before any of its stage has ended."""
    frames = sum(state.clips[unit.clip].frames(unit.segment) for unit in batch.units)
    return state.pace.frame_s[batch.at] * frames if batch.at in state.pace.frame_s else None


def what_stalls(state: State) -> str:
    """Why nothing happens."""
    if state.batches:
        return _not_finished(state, state.batches[min(state.batches)])
    starting = [name for name, worker in state.crew.all.items() if worker.loading]
    return f"still waiting for {', '.join(starting)} to start" if starting else "no worker can take what is ready"


def _limit_s(state: State, batch: Batch) -> float:
    """As the recipe says, or many times the usual time; none where that is not known yet: a run has patience too."""
    usual_s = expected_s(state, batch)
    if state.policy.timeout_s or usual_s is None:
        return state.policy.timeout_s or float("inf")
    return max(SHORTEST_S, PATIENCE * usual_s)


def _not_finished(state: State, batch: Batch) -> str:
    stage, clips = state.policy.path[batch.at].name, dict.fromkeys(unit.clip for unit in batch.units)
    usual_s = expected_s(state, batch)
    usual = f" ({usual_s:.1f} s is usual)" if usual_s else ""
    return f"{batch.worker} has not finished {stage} of {', '.join([*clips][:3])}{usual}"
