"""How long a run takes, by the scheduler itself."""

from fractions import Fraction

import pytest

from evs_batch.planning.costs import Costs
from evs_batch.planning.forecast import Forecast, forecast, sizes
from evs_batch.planning.table import of_device
from evs_batch.runtime.cluster import place
from evs_batch.spec.codecs import CODECS
from evs_batch.spec.recipe import parse_recipe
from evs_batch.spec.video import constant_rate
from evs_batch.store.recipes import load_recipe

RECIPE = parse_recipe({})
COSTS = Costs(
    of="", pixels=64 * 64, frame_s={"decode": 0.001, "t2i_a": 0.01, "t2v": 0.01, "t2i_b": 0.01, "encode": 0.001},
    clip_s={"probe": 0.01}, start_s={"t2i": 3.0, "t2v": 3.0}, around_s=2.0,
)  # fmt: skip


def told(clips: int, gpus: int = 2, side: int = 64, frames: int = 16, costs: Costs = COSTS) -> Forecast:
    placement = place(RECIPE, [{"GPU": gpus, "CPU": 16.0 * gpus}], None, None)
    seen = sizes(RECIPE, [constant_rate(frames, side, side, Fraction(24))], placement.budget_bytes)
    return forecast(RECIPE, placement, costs, seen, clips)


def test_work_is_shared_by_the_workers_between_a_start_and_an_end():
    bound_s = 1000 * 16 * 0.03 / 2
    assert bound_s + 5 < told(1000).seconds < 1.05 * bound_s + 5
    assert told(1000).pool_s["model"] == pytest.approx(bound_s)
    assert told(1000).bottleneck == "model"


def test_a_million_clips_are_foretold_by_the_first_ones():
    few, many = told(1000), told(1_000_000)
    assert many.seconds == pytest.approx(1000 * few.seconds, rel=0.05)
    assert many.stage_s["t2v"] == pytest.approx(1_000_000 * 16 * 0.01)


def test_larger_pictures_take_longer():
    assert told(1000, side=128).stage_s["t2i_a"] == pytest.approx(4 * told(1000).stage_s["t2i_a"])
    assert told(1000, side=128).seconds > 3.5 * told(1000).seconds


def test_what_is_in_flight_is_no_more_than_there_is():
    placement = place(RECIPE, [{"GPU": 2, "CPU": 32}], None, None)
    assert 0 < told(1000).in_flight_bytes <= placement.budget_bytes


def test_slow_video_files_are_the_bottleneck():
    slow = Costs(**{**vars(COSTS), "frame_s": {**COSTS.frame_s, "encode": 1.0}})
    assert told(1000, costs=slow).bottleneck == "media"
    assert told(1000, costs=slow).seconds > 1000 * 16 * 1.0 / 16
    assert told(1000, costs=slow).workers == {"media": 16, "model": 2}
    assert told(1000).workers["media"] < 8, "as many as models need"


FASTEST = ("runtime.compile=static", "t2i.cache_interval=3", "t2i.guidance_stop=0.5")


@pytest.mark.parametrize("codec", CODECS)
def test_eight_cores_for_a_gpu_are_enough_for_every_codec_at_its_slowest(codec: str):
    changes = [*FASTEST, f"output.codec={codec}", f"output.container={CODECS[codec].containers[0]}"]
    recipe = load_recipe("enhance", [*changes, "output.preset=archive", "output.previews=[]"])
    placement = place(recipe, [{"GPU": 8, "CPU": 64}], None, None)
    seen = sizes(recipe, [constant_rate(16, 320, 512, Fraction(24))], placement.budget_bytes)
    found = forecast(recipe, placement, of_device("H200", recipe), seen, 1000)
    models_s = sum(found.stage_s[name] for name in ("t2i_a", "t2v", "t2i_b")) / 8
    assert found.bottleneck == "model"
    assert found.seconds < 1.1 * models_s
