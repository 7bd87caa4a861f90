"""What is wrong with manifests, and copies without that."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evs_batch.spec.errors import ManifestError
from evs_batch.store import reading
from evs_batch.store.mending import Check

ROWS = """path,prompt,id,seed,strength,score
a.mp4,one,x,1,0.5,7
b.mp4,two,x,2,,7
,three,,,,7
c.mp4,four,-bad,-3,0.4,7
d.mp4,five,ok,1.5,2,7
e.mp4,,y,,,7
a.mp4,one,x,1,0.5,7
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text(ROWS)
    return tmp_path / "t.csv"


def test_every_bad_row_is_named_with_what_a_copy_does_about_it(table):
    check = Check(str(table))
    found = [(fault.number, fault.error.value, fault.mended) for fault in check]
    assert found == [
        (1, "id='x'", "id left out"),
        (2, "path='None'", "row left out"),
        (3, "id='-bad'", "id, seed left out"),
        (4, "seed='1.5'", "seed, strength left out"),
        (5, "prompt='None'", "row left out"),
        (6, "id='x'", "id left out"),
    ]
    assert (check.rows, check.faults) == (7, 6)


def test_the_copy_is_good_and_has_all_that_was_good(table, tmp_path):
    list(Check(str(table), str(tmp_path / "clean.parquet")))
    assert list(Check(str(tmp_path / "clean.parquet"))) == []
    rows = list(reading.open_manifest(str(tmp_path / "clean.parquet"), 0))
    assert len({row.id for row in rows}) == len(rows) == 5
    cells = pq.read_table(tmp_path / "clean.parquet").to_pylist()
    assert cells[0] == {
        "path": f"{tmp_path}/a.mp4", "prompt": "one", "id": "x", "seed": "1", "strength": "0.5", "score": "7",
    }  # fmt: skip
    assert [row["id"] for row in cells] == ["x", None, None, "ok", None]
    assert [row["seed"] for row in cells] == ["1", "2", None, None, "1"]
    assert [row["strength"] for row in cells] == ["0.5", None, "0.4", None, "0.5"]


def test_a_copy_that_is_not_finished_is_not_there(table, tmp_path):
    faults = iter(Check(str(table), str(tmp_path / "clean.parquet")))
    next(faults)
    faults.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv"]


def test_what_is_wrong_with_a_whole_manifest_is_an_error(tmp_path):
    (tmp_path / "t.csv").write_text("path\na.mp4\n")
    with pytest.raises(ManifestError, match="one column must be called 'prompt'"):
        list(Check(str(tmp_path / "t.csv")))
