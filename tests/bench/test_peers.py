"""Our own runs of the comparison; the peers are an optional extra."""

import pytest

from evs_batch.bench.peers import compare
from evs_batch.bench.peers.work import Scenario

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.parametrize("scenario", ["poison that kills"])
def test_every_innocent_clip_is_delivered_once(scenario: Scenario):
    figures = compare.run_apart("evs_batch", scenario, clips=32, workers=2)
    assert (figures["end"], figures["lost"], figures["doubled"]) == ("done", 0, 0)
    assert figures["achieved_over_ideal"] > 0
    parts = [figures[name] for name in ("achieved_over_ideal", *compare.LOSSES)]
    assert sum(parts) == pytest.approx(1), "where all the time of the workers went"
