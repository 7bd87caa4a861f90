from pathlib import Path

import pyarrow as pa
import pytest

from evs_batch.store import parts
from evs_batch.store.parts import Parts


def names(folder: Path) -> list[str]:
    return [name for path in parts.listed(str(folder)) for name in parts.read(path)["id"].to_pylist()]


def rows(*ids: str) -> pa.Table:
    return pa.table({"id": list(ids)})


def test_many_small_parts_become_few(tmp_path: Path):
    writer = Parts(str(tmp_path))
    for number in range(200):
        writer.append(rows(f"{number:03}"))
        writer.compact()
        assert len(list(tmp_path.iterdir())) <= parts.SMALL_PARTS + 1
    writer.merge()
    assert len(list(tmp_path.iterdir())) == 1
    assert names(tmp_path) == [f"{number:03}" for number in range(200)]


def test_large_parts_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parts, "LARGE_ROWS", 10)
    writer = Parts(str(tmp_path))
    for _ in range(3):
        for number in range(6):
            writer.append(rows(*[str(number)] * 2))
        writer.merge()
    assert len(list(tmp_path.iterdir())) == 3
    assert len(names(tmp_path)) == 36


def test_who_is_killed_before_the_old_parts_are_removed_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    writer = Parts(str(tmp_path))
    writer.append(rows("a"))
    writer.append(rows("b"))
    with monkeypatch.context() as killed:
        killed.setattr(parts, "_remove", lambda *_: None)
        writer.merge()
    assert len(list(tmp_path.iterdir())) == 3
    assert names(tmp_path) == ["a", "b"]
    Parts(str(tmp_path)).append(rows("c"))
    parts.tidy(str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
    assert names(tmp_path) == ["a", "b", "c"]


def test_a_part_may_get_other_rows_and_goes_when_it_has_none(tmp_path: Path):
    writer = Parts(str(tmp_path))
    writer.append(rows("a"))
    writer.append(rows("b"))
    writer.merge()
    before = parts.digest(str(tmp_path))
    (path,) = parts.listed(str(tmp_path))
    parts.rewrite(path, parts.read(path).slice(1))
    assert names(tmp_path) == ["b"]
    assert parts.digest(str(tmp_path)) != before
    parts.rewrite(path, rows()[:0])
    assert not list(tmp_path.iterdir())
