from types import SimpleNamespace
from typing import Any

import pytest

from evs_batch.driver.doubt import Doubt
from evs_batch.driver.job import Job
from evs_batch.runtime.loop import Finished
from evs_batch.scheduling.events import Failure, FailureKind
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
    row: Any = SimpleNamespace(id="film")
    job: Any = SimpleNamespace(
        _rows={"film": row}, _commit=lambda row, _: events.append(f"commit {row.id}"), _ledger=ledger,
        _doubt=Doubt(ends_run=True), _segmented=old, _late_parts=[], _parts_uri=lambda clip: f"parts/{clip}",
    )  # fmt: skip
    job._settle = lambda rows: Job._settle(job, rows)
    clip = Clip(id="film", uri="film.mp4", prompt="x", seed=1)
    Job._finish(
        job, Finished(clip=clip, failure=None, attempts=1, begun_again=False, row={}, seconds={}, segments=segments)
    )
    assert events == ["commit film", *(["flush True", "remove parts/film"] if removed else [])]


def test_segments_of_a_clip_whose_failure_is_not_committed_stay(monkeypatch: pytest.MonkeyPatch):
    """It may be the storage: what has been done is of use when the same command runs again."""
    removed: list[str] = []
    monkeypatch.setattr(storage, "remove_folder", removed.append)
    row: Any = SimpleNamespace(id="film")
    job: Any = SimpleNamespace(
        _rows={"film": row}, _commit=None, _doubt=Doubt(ends_run=True), _segmented=set(), _late_parts=[]
    )
    job._settle = lambda rows: Job._settle(job, rows)
    failure = Failure(kind=FailureKind.ERROR, stage="join", type="StorageError", message="is full")
    clip = Clip(id="film", uri="film.mp4", prompt="x", seed=1)
    Job._finish(
        job, Finished(clip=clip, failure=failure, attempts=3, begun_again=False, row={}, seconds={}, segments=3)
    )
    assert removed == []
    assert job._segmented == {"film"}
