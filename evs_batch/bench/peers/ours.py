"""evs-batch itself: its own loop, scheduler and actors; only the stage runners sleep."""

from evs_batch.bench.peers import work as bench
from evs_batch.bench.peers.sleeper import RECIPE, sleeping
from evs_batch.runtime import cluster
from evs_batch.runtime.loop import Finished, Loop
from evs_batch.scheduling.policy import Policy
from evs_batch.spec.work import Clip, path

BUDGET_BYTES = 10**10  # of frames as in a recipe for 512x512; here they are smaller


def run(work: bench.Work) -> list[str]:
    """Names of the clips as they are committed."""
    delivered: list[str] = []
    placement = cluster.place(RECIPE, cluster.nodes(), None, None)

    def finished(end: Finished) -> None:
        if end.failure is None:
            delivered.append(end.clip.id)

    loop = Loop(
        recipe=RECIPE,
        policy=Policy(
            path=path(RECIPE),
            pools=placement.pools,
            call_frames={"t2i": RECIPE.runtime.batch_frames, "t2v": RECIPE.runtime.batch_frames},
            budget_bytes=BUDGET_BYTES,
            lookahead_clips=4 * sum(pool.size for pool in placement.pools.values()),
        ),
        placement=placement,
        place=lambda: placement,
        output_uri=str,
        parts_uri=str,
        clips=(Clip(id=name, uri=str(frames), prompt="", seed=0) for name, frames in work.clips.items()),
        finished=finished,
        on_tick=lambda _: None,
        worker=sleeping(work),
    )
    loop.run()
    bench.mark(work, "hand_off", str(loop.timeline.account.hand_off(placement.pools.keys() - {"media"})))
    return delivered
