"""Many short random runs of the scheduler with faults: no deadlock, no starvation, no clip lost or done twice.

    python bench/random_runs.py [SECONDS] [FIRST_SEED]

Prints how many runs were played; the first one that breaks a rule ends it with its seed.
"""

import sys
import time
from random import Random

from evs_batch.scheduling import events as ev
from evs_batch.scheduling.policy import Pool
from evs_batch.spec.recipe import Recipe, parse_recipe
from evs_batch.spec.work import path
from tests.scheduling.world import World, pools

RECIPES = [
    Recipe(),
    parse_recipe({"t2i": {"attention": "first_frame"}, "t2v": {"context": 10}}),
    parse_recipe({"composition": "T2V", "t2v": {"context": 40, "steps": 20}}),
    parse_recipe({"t2v": {"switch_at": [8, 4], "context": 30}}),
    parse_recipe({"composition": "T2I"}),
    parse_recipe({"composition": "identity"}),
    parse_recipe({"t2v": {"context": 16}, "output": {"colour_match": "adain"}}),
    parse_recipe({"composition": "identity", "output": {"colour_match": "wavelet"}}),
]


def play(seed: int) -> World:
    """One run, whose every parameter is drawn by its seed."""
    rng = Random(seed)
    crew = {"model": Pool(rng.randint(1, 5), ("t2i", "t2v"), rng.randint(1, 2)), **pools(media=rng.randint(1, 3))}
    if rng.random() < 0.4:
        crew = pools(t2i=rng.randint(1, 4), t2v=rng.randint(1, 3), media=rng.randint(1, 3))
    world = World(
        seed, rng.randint(0, 12), rng.choice([0.0, 0.1, 0.4, 0.8]), rng.choice([1000, 64, 24, 9]), pools=crew,
        path=path(rng.choice(RECIPES)), budget_bytes=rng.choice([60, 200, 400, 2000]),
        calls_in_flight=rng.randint(1, 3), max_start_failures=1000, max_attempts=50,
    )  # fmt: skip
    names = list(world.rows)
    world.run(max_steps=200_000)
    assert isinstance(world.end, ev.Finish), world.end
    assert world.commits == dict.fromkeys(names, 1)
    assert not world.state.clips
    assert not world.state.admitted_bytes
    assert not world.state.admitted_frames
    innocent = {name: failure for name, failure in world.failures.items() if name not in world.poison}
    assert {failure.type for failure in innocent.values()} <= {"TooLarge"}
    return world


def main() -> None:
    """Play until the time is over."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    first = seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    began_s = time.perf_counter()
    while time.perf_counter() - began_s < seconds:
        try:
            play(seed)
        except BaseException:
            print(f"seed {seed}")
            raise
        seed += 1
    print(f"{seed - first} runs, seeds {first} to {seed - 1}: none broke a rule")


if __name__ == "__main__":
    main()
