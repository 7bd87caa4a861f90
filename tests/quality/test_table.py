from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evs_batch.quality.choice import Choice
from evs_batch.quality.table import Table, open_table
from evs_batch.spec.errors import OutputError

FREE, CLEAN = Choice(), Choice(reference="clean")


def table(folder: Path, *ids: str, choice: Choice = FREE) -> Table:
    return open_table(str(folder), pa.array(ids), choice)


def written(folder: Path, *ids: str) -> None:
    """A file with these rows, each measured on a result of the digest `1`."""
    first = table(folder, *ids)
    for name in ids:
        first.add({"id": name, "output_sha256": "1", "sharpness": 0.5})
    first.save()


def test_rows_come_in_the_order_of_the_manifest_whatever_order_they_were_measured_in(tmp_path: Path):
    new = table(tmp_path, "c", "a", "b")
    for name in "abc":
        new.add({"id": name, "output_sha256": "1", "sharpness": 0.5})
    new.save()
    read = pq.read_table(tmp_path / "quality" / "metrics.parquet")
    assert read["id"].to_pylist() == ["c", "a", "b"]
    assert read["sharpness"].to_pylist() == [0.5] * 3
    assert read["warping_error"].null_count == 3
    names = ["sharpness", "source_sharpness", "warping_error", "source_warping_error"]
    assert read.schema.names == ["id", "output_uri", "output_sha256", *names, "error"]


def test_measured_rows_hold_until_their_result_changes(tmp_path: Path):
    written(tmp_path, "a", "b")
    again = table(tmp_path, "a", "b", "c")
    assert again.holds() == {"a": "1", "b": "1"}
    again.add({"id": "a", "output_sha256": "2", "sharpness": 0.7})
    again.save()
    rows = table(tmp_path, "a", "b", "c").rows()
    assert rows["sharpness"].to_pylist() == [0.7, 0.5]


def test_rows_with_an_error_and_rows_without_a_result_are_tried_again(tmp_path: Path):
    first = table(tmp_path, "a", "b")
    first.add({"id": "a", "output_sha256": "1", "error": "the network was away"})
    first.add({"id": "b"})
    first.save()
    assert table(tmp_path, "a", "b").holds() == {}


def test_another_way_of_measuring_begins_anew(tmp_path: Path):
    written(tmp_path, "a")
    assert table(tmp_path, "a", choice=CLEAN).holds() == {}
    assert table(tmp_path, "a").holds() == {"a": "1"}


def test_rows_that_left_the_manifest_leave_the_table(tmp_path: Path):
    written(tmp_path, "a", "b")
    assert table(tmp_path, "b").rows()["id"].to_pylist() == ["b"]


def test_nothing_new_is_not_written(tmp_path: Path):
    table(tmp_path, "a").save()
    assert not (tmp_path / "quality").exists()


def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path):
    written(tmp_path, "a")
    (tmp_path / "quality" / "metrics.parquet").write_bytes(b"damaged")
    with pytest.raises(OutputError, match="delete it: it will be measured again"):
        table(tmp_path, "a")
