"""New manifests, from all that people have."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evs_batch.spec.errors import ManifestError
from evs_batch.store import making, prompts, reading
from evs_batch.store.making import Making


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """The rows of a new manifest, which is a good one."""

    def make(*sources: Path | str, **how: Any) -> list[dict[str, Any]]:
        count = making.create([str(source) for source in sources], Making(**how), str(tmp_path / "made.parquet"))
        assert [row.error for row in reading.open_manifest(str(tmp_path / "made.parquet"), 0)] == [None] * count
        return pq.read_table(tmp_path / "made.parquet").to_pylist()

    return make


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of files that are called videos, in folders, with other files."""
    folder = tmp_path / "clips"
    for name in ("b.mp4", "a star-0.MOV", "deep/er/b.mkv", "notes.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_a_folder_with_a_text_file_beside_every_video(clips, made):
    for name in ("b.txt", "a star-0.txt", "deep/er/b.txt"):
        (clips / name).write_text(f"  the text of {name}\n")
    assert made(clips) == [
        {"id": "a-star-0", "uri": f"{clips}/a star-0.MOV", "prompt": "the text of a star-0.txt"},
        {"id": "b", "uri": f"{clips}/b.mp4", "prompt": "the text of b.txt"},
        {"id": "deep_er_b", "uri": f"{clips}/deep/er/b.mkv", "prompt": "the text of deep/er/b.txt"},
    ]


def test_a_glob_and_a_template(clips, made):
    rows = made(f"{clips}/*.*", prompt_column=None, finds=[prompts.template("{words} in {folder}")])
    assert [row["prompt"] for row in rows] == ["a star 0 in clips", "b in clips"]


def test_a_text_beside_a_video_goes_before_a_prompt_for_all(clips, made):
    (clips / "b.txt").write_text("its own")
    rows = made(clips, finds=[prompts.template("any")])
    assert [row["prompt"] for row in rows] == ["any", "its own", "any"]


def test_several_sources_are_one_manifest(clips, made, make_manifest):
    table = make_manifest([{"id": "t", "uri": "sub/x.mp4", "prompt": "of the table", "score": 3}])
    rows = made(clips / "b.mp4", table, finds=[prompts.template("any")])
    assert rows == [
        {"id": "b", "uri": f"{clips}/b.mp4", "prompt": "any", "score": None},
        {"id": "t", "uri": f"{table.parent}/sub/x.mp4", "prompt": "of the table", "score": 3},
    ]


def test_columns_of_a_table_by_name(tmp_path, made):
    (tmp_path / "t.csv").write_text("where,title,prompt\na.mp4,a title,old\n")
    row = {"where": "a.mp4", "title": "a title", "prompt": "a title", "uri": f"{tmp_path}/a.mp4"}
    assert made(tmp_path / "t.csv", uri_column="where", prompt_column="title") == [row]


def test_a_template_of_columns_fills_what_a_table_lacks(tmp_path, made):
    (tmp_path / "t.jsonl").write_text('{"path": "a.mp4", "place": "sea"}\n{"path": "b.mp4", "place": null}\n')
    rows = made(tmp_path / "t.jsonl", finds=[prompts.template("by the {place}: {stem}")])
    assert [row["prompt"] for row in rows] == ["by the sea: a", "by the : b"]
    assert [row["path"] for row in rows] == [f"{tmp_path}/a.mp4", f"{tmp_path}/b.mp4"]


@pytest.mark.parametrize("kind", ["text", "texts", "VBench"])
def test_videos_that_are_named_after_the_prompts_of_a_list(tmp_path, made, kind):
    known = ["A red star, flying.", 'What is "blue"?', "never sampled"]
    texts = {
        "text": "\n\n".join(known), "texts": json.dumps(known),
        "VBench": json.dumps([{"prompt_en": prompt, "dimension": ["colour"]} for prompt in known]),
    }  # fmt: skip
    file = tmp_path / ("list.txt" if kind == "text" else "list.json")
    file.write_text(texts[kind])
    (tmp_path / "videos").mkdir()
    for name in ("A red star, flying-0.mp4", "a red  star, flying-12.mp4", "What is blue.mp4"):
        (tmp_path / "videos" / name).write_bytes(b"")
    rows = made(tmp_path / "videos", finds=[prompts.of_list(str(file))])
    assert [row["prompt"] for row in rows] == [known[0], known[1], known[0]]


def test_equal_names_of_different_files_are_told_apart(tmp_path, made):
    for name in ("a.mov", "a.mp4", "-.mp4"):
        (tmp_path / name).write_bytes(b"")
    rows = made(tmp_path, finds=[prompts.template("any")])
    assert [row["id"] for row in rows] == [None, "a", "a-2"]
    (tmp_path / "a-2.mp4").write_bytes(b"")
    assert [row["id"] for row in made(tmp_path, finds=[prompts.template("any")])] == [None, "a-2", "a", "a-3"]


@pytest.mark.parametrize(
    ("files", "how", "message"),
    [
        ({"a.txt": ""}, {}, "holds no videos; they are known by their endings"),
        ({"a.mp4": "", "b.mp4": "", "b.txt": " "}, {}, "2 videos: have no prompt, for example .*a.mp4, .*b.mp4; put a"),
        ({"a.mp4": ""}, {"finds": [prompts.template("{stemm}")]}, "{stemm} is no column; did you mean 'stem'"),
    ],
)
def test_what_cannot_be_a_manifest_is_said_and_nothing_is_written(tmp_path, files, how, message):
    (tmp_path / "videos").mkdir()
    for name, text in files.items():
        (tmp_path / "videos" / name).write_text(text)
    with pytest.raises(ManifestError, match=message):
        making.create([str(tmp_path / "videos")], Making(**how), str(tmp_path / "made.parquet"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["videos"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"prompt_column": "titel"}, "column 'titel': is not in .*t.csv; did you mean 'title'"),
        ({}, "none is known to hold URIs; name it with --uri-column"),
        ({"uri_column": "where"}, "1 videos: have no prompt"),
    ],
)
def test_wrong_columns_are_named(tmp_path, how, message):
    (tmp_path / "t.csv").write_text("where,title\na.mp4,one\n")
    with pytest.raises(ManifestError, match=message):
        making.create([str(tmp_path / "t.csv")], Making(**how), str(tmp_path / "made.parquet"))


def test_an_id_of_two_sources_is_refused(tmp_path, make_manifest):
    one = make_manifest([{"id": "a", "uri": "x.mp4", "prompt": "p"}], "one.parquet")
    two = make_manifest([{"id": "a", "uri": "y.mp4", "prompt": "p"}], "two.parquet")
    with pytest.raises(ManifestError, match="id='a': is used twice"):
        making.create([str(one), str(two)], Making(), str(tmp_path / "made.parquet"))
    assert not (tmp_path / "made.parquet").exists()


@pytest.mark.parametrize("text", ["{", "5", '[{"other": 1}]', "[1]", '[{"prompt": 5}]'])
def test_a_list_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(ManifestError, match="is no list of prompts"):
        prompts.of_list(str(tmp_path / "list.json"))


def test_sources_with_other_names_for_their_columns_are_one_manifest(clips, tmp_path, made):
    (tmp_path / "one.csv").write_text("url,caption\nx.mp4,of x\n")
    (tmp_path / "two.jsonl").write_text('{"path": "y.mp4", "text": "of y", "score": 1.5}\n')
    rows = made(clips / "b.mp4", tmp_path / "one.csv", tmp_path / "two.jsonl", finds=[prompts.template("any")])
    assert [(row["uri"], row["prompt"], row["score"]) for row in rows] == [
        (f"{clips}/b.mp4", "any", None), (f"{tmp_path}/x.mp4", "of x", None), (f"{tmp_path}/y.mp4", "of y", 1.5),
    ]  # fmt: skip


def test_links_are_followed_and_brackets_in_names_are_names(tmp_path, made):
    for name in ("real/a [x1].mp4", "real/in/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "linked [2024]").mkdir()
    (tmp_path / "linked [2024]" / "file.mp4").symlink_to(tmp_path / "real" / "a [x1].mp4")
    (tmp_path / "linked [2024]" / "folder").symlink_to(tmp_path / "real" / "in")
    find = [prompts.template("any")]
    assert [row["id"] for row in made(tmp_path / "linked [2024]", finds=find)] == ["file", "folder_b"]
    assert [row["id"] for row in made(tmp_path / "real" / "a [x1].mp4", finds=find)] == ["a-x1-"]
    assert [row["id"] for row in made(f"{tmp_path}/real/*.mp4", finds=find)] == ["a-x1-"]


def test_prompts_that_are_no_texts_are_made_some_and_columns_that_differ_are_refused(tmp_path, made):
    (tmp_path / "one.jsonl").write_text('{"uri": "a.mp4", "prompt": ["one", "two"], "seed": 1}\n')
    assert made(tmp_path / "one.jsonl")[0]["prompt"] == "['one', 'two']"
    (tmp_path / "two.csv").write_text("uri,prompt,seed\nb.mp4,b,2\n")
    with pytest.raises(ManifestError, match="cannot be read"):
        made(tmp_path / "one.jsonl", tmp_path / "two.csv")


def test_a_column_that_must_not_be_null_may_be_in_another_source(clips, tmp_path, made):
    schema = pa.schema(
        [pa.field("uri", pa.string()), pa.field("prompt", pa.string()), pa.field("n", pa.int64(), nullable=False)]
    )
    pq.write_table(pa.Table.from_pylist([{"uri": "x.mp4", "prompt": "p", "n": 1}], schema), tmp_path / "t.parquet")
    rows = made(tmp_path / "t.parquet", clips / "b.mp4", finds=[prompts.template("any")])
    assert [row["n"] for row in rows] == [1, None]
