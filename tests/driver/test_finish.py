from types import SimpleNamespace
from typing import Any

import pytest

from evs_batch.driver.doubt import Doubt
from evs_batch.driver.job import Job
from evs_batch.runtime.loop import Finished
from evs_batch.spec.work import Clip
from evs_batch.store import storage


@pytest.mark.parametrize(("segments", "old", "removed"), [(3, set(), True), (1, {"film"}, True), (1, set(), False)])
def test_parts_are_removed_only_when_the_row_is_on_the_disk(
    segments: int, old: set[str], removed: bool, monkeypatch: pytest.MonkeyPatch
):
    """Who is killed in between has the row or the parts, never neither."""
    events: list[str] = []
    monkeypatch.setattr(storage, "remove_folder", lambda uri: events.append(f"remove {uri}"))
    ledger = SimpleNamespace(flush=lambda *, force: events.append(f"flush {force}"))
    job: Any = SimpleNamespace(
        _rows={"film": "row"}, _commit=lambda row, _: events.append(f"commit {row}"), _ledger=ledger,
        _doubt=Doubt(ends_run=True), _old_parts=old, _late_parts=[], _parts_uri=lambda clip: f"parts/{clip}",
    )  # fmt: skip
    clip = Clip(id="film", uri="film.mp4", prompt="x", seed=1)
    Job._finish(
        job, Finished(clip=clip, failure=None, attempts=1, begun_again=False, row={}, seconds={}, segments=segments)
    )
    assert events == ["commit row", *(["flush True", "remove parts/film"] if removed else [])]
