"""The scheduler against other ways to share work, on simulated workers: achieved over ideal."""

import heapq
import random
import time
from collections.abc import Callable, Iterator, Mapping
from math import ceil, floor
from typing import Any

from evs_batch.scheduling.policy import Policy, Pool
from evs_batch.scheduling.simulate import Durations, Outcome, simulate, weightless
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import path

WORKERS = (1, 2, 3, 4, 8, 16, 64, 256, 1024)
CLIPS_PER_WORKER = 50
FRAMES = (8, 16, 16, 16, 24, 32, 48, 64)  # of a clip, drawn evenly
CALL_FRAMES = 64
FRAME_S = {"t2i_a": 0.010 * 12 / 20, "t2v": 0.0065, "t2i_b": 0.010 * 8 / 20}
CALL_S = 0.02
SWAP_S = 0.2
DURATIONS = Durations(
    frame_s=FRAME_S,
    call_s=CALL_S,
    media_s={"probe": 0.001, "decode": 0.02, "encode": 0.02},
    load_s={"t2i": SWAP_S, "t2v": SWAP_S},
    hand_off_s=0.005,
)
T2I_S, T2V_S = FRAME_S["t2i_a"] + FRAME_S["t2i_b"], FRAME_S["t2v"]


def workload(workers: int, seed: int = 0) -> dict[str, int]:
    """Clips and their frames, skewed as real ones are."""
    rng = random.Random(seed)
    return {f"clip{number}": rng.choice(FRAMES) for number in range(CLIPS_PER_WORKER * workers)}


def ideal_s(clips: Mapping[str, int], workers: int) -> float:
    """Full calls only, and no worker ever waits."""
    return sum(clips.values()) * (T2I_S + T2V_S + len(FRAME_S) * CALL_S / CALL_FRAMES) / workers


def measure(workers: int) -> Iterator[dict[str, Any]]:
    """One row for every way to share the work among so many workers."""
    clips = workload(workers)
    for policy, run in _policies(workers).items():
        began_s = time.perf_counter()
        seconds, outcome = run(clips)
        taken_s = time.perf_counter() - began_s
        yield {
            "policy": policy,
            "workers": workers,
            "achieved_over_ideal": ideal_s(clips, workers) / seconds,
            "of_best_split": best_split_s(clips, workers) / seconds if policy == "static" and workers <= 16 else None,
            "loads": outcome.loads if outcome else 0,
            "decisions_per_s": round(outcome.decisions / taken_s) if outcome else None,
        }


def _policies(workers: int) -> dict[str, Callable[[Mapping[str, int]], tuple[float, Outcome | None]]]:
    both = {keeps: {"model": Pool(workers, ("t2i", "t2v"), keeps)} for keeps in (1, 2)}
    splits = _splits(workers, around=0)
    known: dict[str, Callable[[Mapping[str, int]], tuple[float, Outcome | None]]] = {
        "data_parallel": lambda clips: (data_parallel_s(clips, workers), None),
    }
    if splits:
        known["static"] = lambda clips: min((_simulated(split, clips) for split in splits), key=lambda run: run[0])
    known["roles, swapping"] = lambda clips: _simulated(both[1], clips)
    known["roles"] = lambda clips: _simulated(both[2], clips)
    return known


def _splits(workers: int, around: int) -> list[dict[str, Pool]]:
    """Fixed pools: the two splits nearest to the shares of the work, and so many beyond them on either side."""
    share = workers * T2I_S / (T2I_S + T2V_S)
    counts = range(floor(share) - around, ceil(share) + around + 1)
    return [_split(t2i, workers) for t2i in counts if 0 < t2i < workers]


def best_split_s(clips: Mapping[str, int], workers: int) -> float:
    """Of all splits the shortest run."""
    return min(_simulated(split, clips)[0] for split in _splits(workers, around=workers))


def _split(t2i: int, workers: int) -> dict[str, Pool]:
    return {"t2i": Pool(t2i, ("t2i",)), "t2v": Pool(workers - t2i, ("t2v",))}


def _simulated(pools: Mapping[str, Pool], clips: Mapping[str, int]) -> tuple[float, Outcome]:
    workers = sum(pool.size for pool in pools.values())
    policy = Policy(
        path=path(Recipe()),
        pools={**pools, "media": Pool(2 * workers, ("media",))},
        call_frames={"t2i": CALL_FRAMES, "t2v": CALL_FRAMES},
        budget_bytes=1,  # nothing has a size here
        lookahead_clips=12 * workers,
    )
    outcome = simulate(policy, DURATIONS, weightless(clips, CALL_FRAMES))
    assert set(outcome.commits.values()) == {1}, "every clip is committed once"
    assert len(outcome.commits) == len(clips), "none is lost"
    return outcome.seconds, outcome


def data_parallel_s(clips: Mapping[str, int], workers: int) -> float:
    """Each worker takes a clip at a time through all stages, and then the next; the last one to finish counts."""
    free_s = [0.0] * workers
    for frames in clips.values():
        began_s = heapq.heappop(free_s)
        heapq.heappush(free_s, began_s + frames * (T2I_S + T2V_S) + len(FRAME_S) * CALL_S)
    return max(free_s)
