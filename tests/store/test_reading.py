import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evs_batch.spec.errors import ManifestError
from evs_batch.store.reading import open_manifest

ROWS = [{"uri": "a.mp4", "prompt": "a cat"}, {"uri": "b.mp4", "prompt": "a dog, sitting"}]


def write(path: Path) -> str:
    if path.suffix == ".csv":
        path.write_text('uri,prompt\na.mp4,a cat\nb.mp4,"a dog, sitting"\n')
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "folder"])
def test_all_kinds_of_manifests_read_alike(kind: str, tmp_path: Path, make_manifest):
    made = make_manifest(ROWS) if kind in ("parquet", "folder") else None
    uri = str(tmp_path) if kind == "folder" else str(made or write(tmp_path / f"videos.{kind}"))
    manifest = open_manifest(uri, seed=23)
    assert (manifest.rows, manifest.folder) == (2, str(tmp_path))
    assert [(row.clip.uri, row.clip.prompt) for row in manifest] == [
        (f"{tmp_path}/a.mp4", "a cat"),
        (f"{tmp_path}/b.mp4", "a dog, sitting"),
    ]
    assert not any(row.error for row in manifest)


def test_the_fingerprint_follows_the_rows(make_manifest):
    first = open_manifest(str(make_manifest(ROWS)), seed=1).fingerprint
    assert first == open_manifest(str(make_manifest(ROWS, "same.parquet")), seed=1).fingerprint
    assert first != open_manifest(str(make_manifest([*ROWS, ROWS[0]], "more.parquet")), seed=1).fingerprint


def test_equal_rows_get_different_stable_ids(make_manifest):
    ids = [[row.id for row in open_manifest(str(make_manifest([*ROWS, ROWS[0]])), seed=1)] for _ in range(2)]
    assert len(set(ids[0])) == 3
    assert ids[0] == ids[1]


def test_bad_rows_carry_their_errors(make_manifest):
    uri = make_manifest([*ROWS, {"uri": None, "prompt": "x"}, {"uri": "c", "prompt": ""}])
    assert [(row.number, row.error.rule) for row in open_manifest(str(uri), seed=1) if row.error] == [
        (2, "must be a non-empty text"),
        (3, "must be a non-empty text"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.parquet", None, "does not exist"),
        ("bad.parquet", b"not parquet", "cannot be read"),
        ("bad.jsonl", b'{"uri": 1', "cannot be read"),
        ("notes.txt", b"hello", "unknown kind"),
        ("empty.csv", b"uri,prompt\n", "has no rows"),
        ("columns.csv", b"uri,promt\na,b\n", "one column must be called 'prompt'"),
        ("twice.csv", b"id,uri,prompt\nx,a,b\nx,c,d\n", "is used by row 0 and row 1"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_whole(name: str, content: bytes | None, said: str, tmp_path: Path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=said):
        open_manifest(str(tmp_path / name), seed=1)


def test_a_folder_without_parquet_is_refused(tmp_path: Path):
    with pytest.raises(ManifestError, match="without Parquet files"):
        open_manifest(str(tmp_path), seed=1)


def test_csv_cells_are_passed_as_they_stand(tmp_path: Path):
    (tmp_path / "v.csv").write_text("uri,prompt,seed,code,country\n001,1984,7,00123,NA\nb,null,,x,\n")
    first, second = open_manifest(str(tmp_path / "v.csv"), seed=1)
    assert (first.clip.prompt, first.clip.seed, first.cells["code"], first.cells["country"]) == (
        "1984",
        7,
        "00123",
        "NA",
    )
    assert (first.clip.uri, second.clip.prompt, second.clip.seed) == (f"{tmp_path}/001", "null", 1)
    assert second.cells["country"] is None


def test_parts_of_a_folder_may_differ_and_the_output_has_all_columns(tmp_path: Path, make_manifest):
    make_manifest([{"uri": "a", "prompt": "p", "note": None}], "0.parquet")
    make_manifest([{"uri": "b", "prompt": "p", "note": "text", "score": 0.5}], "1.parquet")
    pq.write_table(pq.read_table(tmp_path / "0.parquet").slice(0, 0), tmp_path / "_empty.parquet")
    make_manifest([{"uri": "c", "note": "no prompt"}], "2.parquet")
    manifest = open_manifest(str(tmp_path), seed=1)
    assert manifest.schema.names == ["uri", "prompt", "note", "score"]
    assert str(manifest.schema.field("note").type) == "string"
    assert [row.error is None for row in manifest] == [True, True, False]


def test_parts_that_cannot_be_united_are_refused(tmp_path: Path, make_manifest):
    make_manifest([{"uri": "a", "prompt": "p", "note": 1}], "0.parquet")
    make_manifest([{"uri": "b", "prompt": "p", "note": "text"}], "1.parquet")
    with pytest.raises(ManifestError, match="note"):
        open_manifest(str(tmp_path), seed=1)


def test_a_name_that_stands_twice_is_refused(tmp_path: Path):
    (tmp_path / "v.csv").write_text("uri,prompt,prompt\na,b,c\n")
    with pytest.raises(ManifestError, match="several columns called 'prompt'"):
        open_manifest(str(tmp_path / "v.csv"), seed=1)


def test_json_lines_may_have_different_keys(tmp_path: Path):
    lines = [{"uri": "a", "prompt": "p"}, {"uri": "b", "prompt": "q", "id": "mine", "seed": 7, "label": "kept"}]
    (tmp_path / "v.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, second = open_manifest(str(tmp_path / "v.jsonl"), seed=1)
    assert (second.id, second.clip.seed, second.cells["label"]) == ("mine", 7, "kept")


def test_rows_with_unsafe_ids_are_bad_rows_and_no_more(make_manifest):
    rows = [{"id": name, "uri": "a", "prompt": "p"} for name in ("a/b", "a/b ", "good")]
    manifest = open_manifest(str(make_manifest(rows)), seed=1)
    assert [row.number for row in manifest if row.error] == [0, 1]
    assert len({row.id for row in manifest}) == 3


@pytest.mark.parametrize(
    "line",
    [
        '{"uri": "a", "prompt": "p", "n": 1180591620717411303424}',
        "3",
        '{"uri": "a", "prompt": "p", "n": {}}\n{"uri": "b", "prompt": "p", "n": 1}',
    ],
)
def test_lines_that_make_no_table_are_refused_by_name(line: str, tmp_path: Path):
    (tmp_path / "v.jsonl").write_text(line)
    with pytest.raises(ManifestError, match="cannot be read"):
        open_manifest(str(tmp_path / "v.jsonl"), seed=1)
