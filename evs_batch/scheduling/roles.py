"""Which worker takes which role: pools divide themselves by what the work costs."""

import math
from collections.abc import Iterator, Mapping

from evs_batch.scheduling.events import LoadRole
from evs_batch.scheduling.policy import Pool
from evs_batch.scheduling.state import State
from evs_batch.spec.work import Role

HYSTERESIS = 2.0  # a role is changed where that saves its price so many times


def first_role(state: State, pool: Pool) -> Role:
    """What a new worker of a pool loads: roles that nobody has, then the one with most work for each holder.

    Workers so few that each of them must take all roles in turn begin together.
    """
    share, holders, in_turn = _share(state), state.crew.holders, pool.swaps and pool.size <= len(pool.roles)
    return max(
        pool.roles, key=lambda role: (not holders[role] and not in_turn, share.get(role, 1.0) / (1 + holders[role]))
    )


def wanted(state: State, name: str, now_s: float) -> int:
    """How many workers a pool should have now: all; but beside models only as many media workers as these need."""
    pool, present, models = state.policy.pools[name], state.crew.present[name], state.policy.models
    if name in models or not models or present >= pool.size:
        return pool.size
    behind = (
        any(_backlog(state, role, now_s)[1] > 0 for role in pool.roles)
        and any(state.crew.free(role, spare=False) for role in state.policy.call_frames)
        and not any(worker.pool == name and worker.loading for worker in state.crew.all.values())
    )
    return max(1, present + behind)


def switch(state: State, now_s: float) -> Iterator[LoadRole]:
    """Let workers that have nothing to do load a role that they lack, where it pays."""
    passed_s, state.switched_s = now_s - (state.switched_s or now_s), now_s
    for role in state.policy.call_frames:
        if not any(stage.role == role for stage in state.policy.path):
            continue
        name = state.crew.could_load(role)
        if name is None:
            continue
        worker = state.crew.all[name]
        if len(worker.held) >= worker.keeps and not _balanced(state, worker.held, role):
            continue
        if reason := _pays(state, role, passed_s, now_s):
            state.lost_s[role] = 0.0
            state.crew.load(name, role)
            yield LoadRole(worker=name, role=role, reason=reason)


def _pays(state: State, role: Role, passed_s: float, now_s: float) -> str | None:
    """Why a worker with nothing to do should load a role: the others have enough for long, or it has lost enough."""
    backlog_s, waited_s = _backlog(state, role, now_s)
    holders, price_s = state.crew.holders[role], state.pace.load_s.get(role, 0.0)
    if holders == 0:
        return "nobody has the role" if waited_s >= state.policy.max_wait_s else None
    wait_s = backlog_s / holders
    if wait_s > HYSTERESIS * price_s:
        return f"workers with it: {holders}, {wait_s:.1f} s of work each; loading takes {price_s:.1f} s"
    state.lost_s[role] = lost_s = state.lost_s.get(role, 0.0) + passed_s * (waited_s > 0)
    if lost_s > HYSTERESIS * price_s:
        return f"it had nothing to do for {lost_s:.1f} s while there was work, loading takes {price_s:.1f} s"
    return None


def _balanced(state: State, old: frozenset[Role], new: Role) -> bool:
    """Whether a worker may give a role up for another: in the long run both need their share of the workers.

    At the end of a run anything that pays is right, at its beginning, when nothing is measured, only what is necessary.
    """
    if state.crew.holders[new] == 0 or state.ending:
        return True
    if not _measured(state):
        return False
    share, holders = _share(state), state.crew.holders
    per_worker = sum(share.values()) / sum(pool.size for pool in state.policy.pools.values() if new in pool.roles)
    enough = all(holders[role] - 1 >= math.floor(share[role] / per_worker) for role in old)
    return enough and holders[new] < math.ceil(share[new] / per_worker)


def _share(state: State) -> Mapping[Role, float]:
    """How the work of a frame is divided among roles: as measured, or as expected."""
    expected, frame_s, path = state.policy.first_share, state.pace.frame_s, state.policy.path
    if not _measured(state):
        return expected
    return {role: sum(frame_s[at] for at, stage in enumerate(path) if stage.role == role) for role in expected}


def _measured(state: State) -> bool:
    """Whether calls of all stages of all models have been timed."""
    roles = state.policy.first_share
    return all(at in state.pace.frame_s for at, stage in enumerate(state.policy.path) if stage.role in roles)


def _backlog(state: State, role: Role, now_s: float) -> tuple[float, float]:
    """Seconds of work that are ready for a role, and for how long the oldest of it has been."""
    seconds, waited_s, frame_s = 0.0, 0.0, state.pace.frame_s
    stages = [at for at, stage in enumerate(state.policy.path) if stage.role == role]
    unmeasured_s = max((frame_s[at] for at in stages if at in frame_s), default=0.0)
    for at in stages:
        for _, queue in state.queues.at(at):
            seconds += queue.frames * frame_s.get(at, unmeasured_s)
            waited_s = max(waited_s, now_s - state.unit(queue.oldest).ready_s)
        if state.replays.get(at):
            waited_s = max(waited_s, state.policy.max_wait_s)
    return seconds, waited_s
