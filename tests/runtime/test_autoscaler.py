"""What an autoscaler is asked for; that a real one brings it, see tests/e2e/test_elastic.py."""

import logging

import pytest

from evs_batch.runtime import cluster
from evs_batch.spec.recipe import load_recipe

HEAD = {"memory": 24e9, "object_store_memory": 7e9}
GPU = {"CPU": 8.0, "GPU": 1.0, "object_store_memory": 14e9}


@pytest.mark.parametrize(
    ("changes", "nodes", "each", "warned"),
    [
        (["runtime.workers=8"], [HEAD], {"CPU"}, True),
        (["runtime.workers=8", "runtime.gpus_per_worker=1"], [HEAD], {"CPU", "GPU"}, False),
        (["runtime.workers=8"], [HEAD, GPU], {"CPU", "GPU"}, False),
    ],
)
def test_workers_are_asked_for_on_gpus_or_the_log_says_why_not(changes, nodes, each, warned, monkeypatch, caplog):
    asked: list = []
    monkeypatch.setattr(cluster, "request_resources", lambda **given: asked.append(given["bundles"]))
    monkeypatch.setattr(logging.getLogger("evs_batch"), "propagate", True)
    recipe = load_recipe("demo", changes)
    cluster.ask_autoscaler(recipe, cluster.place(recipe, nodes, None, None))
    assert [bundle.keys() for bundle in asked[0]] == [each] * 8
    assert ("runtime.gpus_per_worker=1 waits for GPUs" in caplog.text) == warned
