from pathlib import Path

import pytest

from evs_batch.quality.tasks import Tasks
from evs_batch.spec.errors import ManifestError, OutputError
from evs_batch.store import ledger
from tests.quality.builders import FAILED_ROW, write_run

ROW = {
    "id": "a", "uri": "/in/a.mp4", "prompt": "p", "clean": "clean/a.mp4", "status": "success",
    "output_uri": "/out/a.mp4", "output_sha256": "1",
}  # fmt: skip


def test_successful_rows_are_tasks_and_all_rows_have_a_place(tmp_path: Path):
    tasks = Tasks(write_run(tmp_path, [ROW, FAILED_ROW]), None)
    (task,) = tasks
    assert (task.source_uri, task.output_uri, task.reference_uri) == ("/in/a.mp4", "/out/a.mp4", None)
    assert tasks.ids() == ["a", "z"]
    assert list(tasks.failed()) == [{"id": "z"}]


def test_clean_videos_are_relative_to_the_input_manifest(tmp_path: Path):
    rows = [ROW, {**ROW, "id": "b", "clean": "s3://bucket/b.mp4"}, {**ROW, "id": "c", "clean": None}]
    found = [task.reference_uri for task in Tasks(write_run(tmp_path, rows), "clean")]
    assert found == [f"{tmp_path}/in/clean/a.mp4", "s3://bucket/b.mp4", None]


@pytest.mark.parametrize("name", ["clen", "output_uri", "\x1b[2J"])
def test_a_column_that_was_not_given_is_refused(name: str, tmp_path: Path):
    with pytest.raises(ManifestError, match="must be a column of the input manifest") as caught:
        Tasks(write_run(tmp_path, [ROW]), name)
    assert "clean" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_folder_without_rows_is_refused(tmp_path: Path):
    with pytest.raises(OutputError, match="holds no finished row"):
        Tasks(str(tmp_path), None)


def test_a_record_that_does_not_say_where_the_manifest_was_is_made_good_by_a_run(tmp_path: Path):
    output = write_run(tmp_path, [ROW])
    ledger.write_stats(output, (1, 1), {"rows": 1})
    assert len(list(Tasks(output, None))) == 1, "only clean videos need it"
    with pytest.raises(OutputError, match="run the same `evs-batch run` again"):
        Tasks(output, "clean")
