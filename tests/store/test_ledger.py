from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from evs_batch.spec.errors import ManifestError, OutputError, StorageError
from evs_batch.spec.manifest import OUTPUT_COLUMNS
from evs_batch.store import ledger, parts, storage

IDENTITY = {"recipe": {"seed": 23, "t2i": {"strength": 0.4}}, "manifest": "abc"}
FIELDS = [pa.field("uri", pa.string()), pa.field("score", pa.float32())]


def test_rows_are_there_after_a_flush_with_all_columns(tmp_path: Path):
    book = ledger.open_ledger(str(tmp_path), IDENTITY, FIELDS)
    book.commit({"id": "a", "uri": "a.mp4", "score": 0.5, "status": "success"})
    assert not (ledger.parts.listed(str(tmp_path / "manifest"))), "a single row waits for company"
    book.flush(force=True)
    book.commit({"id": "b", "uri": "b.mp4", "status": "failed"})
    book.flush(force=True)
    book.flush(force=True)
    assert len(ledger.parts.listed(str(tmp_path / "manifest"))) == 2, "nothing new, no new part"
    rows = list(ledger.committed(str(tmp_path), ["id", "uri", "score", "status"]))
    assert rows[0] == {"id": "a", "uri": "a.mp4", "score": 0.5, "status": "success"}
    assert book.schema.names == ["uri", "score", *OUTPUT_COLUMNS]


def test_the_same_run_may_go_on_and_another_is_refused_with_a_diff(tmp_path: Path):
    other = ledger.open_ledger(str(tmp_path), {"recipe": "mistaken"}, FIELDS)
    book = ledger.open_ledger(str(tmp_path), IDENTITY, FIELDS)
    assert book.schema == other.schema, "nothing was committed, so nothing binds"
    book.commit({"id": "a", "status": "success"})
    book.flush(force=True)
    ledger.open_ledger(str(tmp_path), IDENTITY, FIELDS)
    changed = {**IDENTITY, "recipe": {"seed": 23, "t2i": {"strength": 0.3}}}
    with pytest.raises(OutputError, match=r"recipe.t2i.strength: 0.4 -> 0.3"):
        ledger.open_ledger(str(tmp_path), changed, FIELDS)
    ledger.open_ledger(str(tmp_path), changed, FIELDS, force=True)
    ledger.open_ledger(str(tmp_path), changed, FIELDS)


def test_failed_rows_can_be_taken_back(tmp_path: Path):
    book = ledger.open_ledger(str(tmp_path), IDENTITY, FIELDS)
    for part in (["a", "b"], ["c"], ["d"]):
        for name in part:
            book.commit({"id": name, "status": "success" if name == "a" else "failed"})
        book.flush(force=True)
    ledger.forget_failed(str(tmp_path), {"b", "c"})
    left = [(row["id"], row["status"]) for row in ledger.committed(str(tmp_path), ["id", "status"])]
    assert left == [("a", "success"), ("d", "failed")]


def test_what_is_done_is_known_by_its_key_until_its_manifest_changes(tmp_path: Path):
    uri, shard = str(tmp_path), (1, 1)
    book = ledger.open_ledger(uri, IDENTITY, FIELDS)
    assert ledger.read_done(uri, shard, "key") is None
    book.commit({"id": "a", "status": "success"})
    book.close()
    ledger.write_done(uri, shard, "key", {"rows": 1, "success": 1, "failed": 0})
    assert ledger.read_done(uri, shard, "another") is None
    assert ledger.read_done(uri, (1, 2), "key") is None
    assert ledger.read_done(uri, shard, "key")["success"] == 1
    (part,) = (tmp_path / "manifest").iterdir()
    part.unlink()
    assert ledger.read_done(uri, shard, "key") is None, "whoever removes rows wants them done again"


def test_a_folder_that_cannot_be_used_is_refused_by_name(tmp_path: Path):
    (tmp_path / "file").write_text("I am a file")
    with pytest.raises(OutputError, match="cannot be used"):
        ledger.open_ledger(str(tmp_path / "file"), IDENTITY, FIELDS)


def test_a_damaged_part_is_named(tmp_path: Path):
    ledger.open_ledger(str(tmp_path), IDENTITY, FIELDS)
    (tmp_path / "manifest").mkdir()
    (tmp_path / "manifest" / "part-1.parquet").write_bytes(b"")
    with pytest.raises(OutputError, match=r"part-1.parquet: is damaged"):
        list(ledger.committed(str(tmp_path), ["id"]))


def test_a_second_driver_on_the_same_rows_is_refused_until_the_first_has_ended(tmp_path: Path):
    with ledger.exclusive(str(tmp_path), (1, 2)):
        with pytest.raises(OutputError, match="in use by another driver"), ledger.exclusive(str(tmp_path), (1, 2)):
            pass
        with ledger.exclusive(str(tmp_path), (2, 2)):
            pass
    with ledger.exclusive(str(tmp_path), (1, 2)):
        pass


def test_a_column_that_parquet_cannot_hold_is_refused_before_any_work(tmp_path: Path):
    with pytest.raises(ManifestError, match="cannot be passed through"):
        ledger.open_ledger(str(tmp_path), IDENTITY, [pa.field("meta", pa.struct([]))])


def test_what_killed_processes_left_is_named_and_goes(tmp_path: Path):
    uri = str(tmp_path)
    book = ledger.open_ledger(uri, {}, [])
    book.commit({"id": "whole", "status": "success"})
    book.close()
    for name in ("videos/whole.mp4", "videos/.a.mp4.0123.partial", "videos/b.mp4", "_run/parts/c/d/000000.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    half = {"half files": 1, "videos without a row": 1, "clips with segments": 1}
    assert ledger.leftovers(uri) == half
    ledger.tidy(uri, (1, 2))
    assert ledger.leftovers(uri) == half, "another driver may be at work"
    ledger.tidy(uri, (1, 1))
    assert ledger.leftovers(uri) == {"videos without a row": 1, "clips with segments": 1}


def test_rows_whose_writing_ended_in_doubt_are_not_there_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The answer of a storage may be lost after it has done its work."""
    uri, write = str(tmp_path), storage.write_bytes
    book = ledger.open_ledger(uri, {}, [])

    def lost(data: bytes, uri: str) -> None:
        write(data, uri)
        raise StorageError(uri, "did not answer", "")

    book.commit({"id": "a", "status": "success"})
    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", lost)
        with pytest.raises(StorageError):
            book.flush(force=True)
    book.commit({"id": "b", "status": "success"})
    book.close()
    assert sorted(row["id"] for row in ledger.committed(uri, ["id"])) == ["a", "b"]


def test_parts_that_cannot_be_removed_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setattr("evs_batch.store.parts.SMALL_PARTS", 2)

    def refuse(uri: str) -> None:
        raise StorageError(uri, "may not be removed", "")

    monkeypatch.setattr(storage, "remove_file", refuse)
    for number in range(9):
        book = ledger.open_ledger(str(tmp_path), {}, [])
        for row in range(3):
            book.commit({"id": f"{number}-{row}", "status": "success"})
            book.flush(force=True)
        book.close()
    names = [row["id"] for row in ledger.committed(str(tmp_path), ["id"])]
    assert len(names) == len(set(names)) == 27
    assert "cannot be removed" in caplog.text


def test_who_reads_while_parts_become_one_misses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    uri, book, read = str(tmp_path), ledger.open_ledger(str(tmp_path), {}, []), parts.read
    for row in range(3):
        book.commit({"id": str(row), "status": "success"})
        book.flush(force=True)

    def merging(*arguments: Any) -> Any:
        monkeypatch.setattr(parts, "read", read)
        book.parts.merge()
        return read(*arguments)

    monkeypatch.setattr(parts, "read", merging)
    assert sorted(row["id"] for row in ledger.committed(uri, ["id"])) == ["0", "1", "2"]
