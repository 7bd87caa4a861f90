"""Hostile manifests and recipes: what is refused whole, what makes one row fail, and what is merely strange."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evs_batch.media.probe import probe
from evs_batch.spec.errors import ManifestError, MediaError, RecipeError, StorageError
from evs_batch.spec.manifest import Row, is_safe_id
from evs_batch.store import storage
from evs_batch.store.reading import open_manifest
from evs_batch.store.recipes import load_recipe

LONG = "x" * 10_000_000
FINE = "fine"

CELLS: dict[str, tuple[dict[str, Any], str]] = {
    "id that climbs": ({"id": "../../etc/passwd"}, "must be 1 to 200"),
    "id that is absolute": ({"id": "/etc/passwd"}, "must be 1 to 200"),
    "id of Windows": ({"id": "..\\..\\boot.ini"}, "must be 1 to 200"),
    "id of a device": ({"id": "C:"}, "must be 1 to 200"),
    "id that is hidden": ({"id": ".ssh"}, "must be 1 to 200"),
    "id like an option": ({"id": "-rf"}, "must be 1 to 200"),
    "id with a line break": ({"id": "a\nb"}, "must be 1 to 200"),
    "id with an escape": ({"id": "\x1b[2Ja"}, "must be 1 to 200"),
    "id that turns text round": ({"id": "a\u202egpj"}, "must be 1 to 200"),
    "id without end": ({"id": LONG}, "must be 1 to 200"),
    "empty id": ({"id": ""}, "must be 1 to 200"),
    "id that is a number": ({"id": "17"}, FINE),
    "no prompt": ({"prompt": None}, "must be a non-empty text"),
    "blank prompt": ({"prompt": " \t\n"}, "must be a non-empty text"),
    "prompt without end": ({"prompt": LONG}, "must have at most 10000"),
    "prompt with NUL": ({"prompt": "a\0b"}, "must not contain NUL"),
    "prompt of HTML": ({"prompt": "<script>alert(1)</script>"}, FINE),
    "prompt of a spreadsheet": ({"prompt": '=HYPERLINK("http://evil")'}, FINE),
    "prompt with escapes": ({"prompt": "\x1b]0;owned\x07\x1b[31m"}, FINE),
    "prompt of half a character": ({"prompt": "👩‍👩‍👧 \u0301\u0301"}, FINE),
    "no uri": ({"uri": None}, "must be a non-empty text"),
    "uri without end": ({"uri": LONG}, "must have at most 10000"),
    "uri with NUL": ({"uri": "a.mp4\0.txt"}, "must not contain NUL"),
    "negative seed": ({"seed": -1}, "must be a whole number"),
    "seed without end": ({"seed": 2**63 - 1}, FINE),
    "strength of nothing": ({"strength": 0.0}, "must be above 0"),
    "strength that is no number": ({"strength": float("nan")}, "must be above 0"),
    "strength without end": ({"strength": float("inf")}, "must be above 0"),
    "negative prompt without end": ({"negative_prompt": LONG}, "must have at most 10000"),
}

URIS = {
    "a folder": "/",
    "endless zeros": "/dev/zero",
    "the memory of a process": "/proc/self/mem",
    "a terminal": "/dev/tty",
    "standard input": "/dev/stdin",
    "a path without end": "/" + "a/" * 4000,
    "a name without end": "/" + "a" * 4000,
    "a loop of links": "loop.mp4",
    "a pipe that nobody fills": "pipe.mp4",
    "a host that is no host": "http://[::1/a.mp4",
    "a port that is no port": "http://127.0.0.1:99999999/a.mp4",
    "a protocol of nobody": "gopherx://a/b.mp4",
    "a protocol of FFmpeg": "concat:/etc/passwd|/etc/group",
    "a pipe of FFmpeg": "pipe:0",
    "an archive in a text": "zip://a.mp4::/etc/passwd",
    "a reference": "reference::/etc/passwd",
    "an expression": "$(id).mp4",
    "another's home": "~root/a.mp4",
}

MANIFESTS: dict[str, tuple[str, bytes, str]] = {
    "nothing": ("a.parquet", b"", "cannot be read"),
    "a magic number": ("a.parquet", b"PAR1PAR1", "cannot be read"),
    "a footer without end": ("a.parquet", b"PAR1" + b"\xff\xff\xff\x7fPAR1", "cannot be read"),
    "text for Parquet": ("a.parquet", b"uri,prompt\n", "cannot be read"),
    "another ending": ("a.exe", b"MZ", "unknown kind"),
    "only names": ("a.csv", b"uri,prompt\n", "has no rows"),
    "not even names": ("a.csv", b"", "one column must be called"),
    "another number of cells": ("a.csv", b"uri,prompt\na\n", "row 0 has 1 cells"),
    "an open quotation": ("a.csv", b'uri,prompt\n"a,b\n', "cannot be read"),
    "bytes that are no text": ("a.csv", b"uri,prompt\n\xff\xfe\xfa,b\n", "cannot be read"),
    "columns of one name": ("a.csv", b"uri,uri,prompt\na,b,c\n", "several columns called 'uri'"),
    "a cell without end": ("a.csv", b"uri,prompt\na," + b"x" * (1 << 25) + b"\n", "cannot be read"),
    "ids of one name": ("a.csv", b"id,uri,prompt\nx,a,b\nx,c,d\n", "is used by row 0 and row 1"),
    "a list of lines": ("a.jsonl", b"[1, 2]\n", "row 0 is not a JSON object"),
    "half an object": ("a.jsonl", b'{"uri": "a"', "cannot be read"),
    "objects in objects": ("a.jsonl", b"[" * 100_000, "cannot be read"),
    "numbers without end": ("a.jsonl", b'{"uri": "a", "prompt": "b", "seed": ' + b"9" * 5000 + b"}", "cannot be read"),
    "two types in a column": ("a.jsonl", b'{"uri": "a", "prompt": 1}\n{"uri": "a", "prompt": ""}', "cannot be read"),
    "no columns": ("a.jsonl", b"{}\n", "one column must be called"),
    "half a config": ("a.json", b'{"base_prompt": ', "is not valid JSON"),
}  # fmt: skip

RECIPES: dict[str, tuple[bytes, str]] = {
    "no TOML": (b"= = =", "not TOML|TOML"),
    "bytes that are no text": (b"\xff\xfe", "TOML|text|decode"),
    "an unknown key": (b"shell = 'rm -rf /'\n", "unknown"),
    "a section that is a number": (b"t2i = 5\n", "t2i"),
    "a number that is a text": (b"seed = 'many'\n", "seed"),
    "a number without end": (b"seed = 99999999999999999999999\n", "seed"),
    "steps without end": (b"[t2i]\nsteps = 1000000000000\n", "steps"),
    "no number": (b"[t2i]\nstrength = nan\n", "strength"),
    "a model without end": (b"[t2i]\nmodel = '" + b"x" * 1_000_000 + b"'\n", FINE),
    "lists in lists": (b"a = " + b"[" * 5000 + b"]" * 5000, "TOML|unknown|deep"),
}


def only_row(tmp_path: Path, cells: dict[str, Any]) -> Row:
    row = {"uri": "a.mp4", "prompt": "a star", **cells}
    pq.write_table(pa.Table.from_pylist([row, {"uri": "b.mp4", "prompt": "good"}]), tmp_path / "a.parquet")
    first, second = open_manifest(str(tmp_path / "a.parquet"), seed=1)
    assert second.clip, "the others are none the worse for it"
    return first


@pytest.mark.parametrize("name", CELLS)
def test_a_hostile_row_fails_alone_or_is_merely_strange(name: str, tmp_path: Path):
    cells, expected = CELLS[name]
    row = only_row(tmp_path, cells)
    assert is_safe_id(row.id)
    if expected == FINE:
        assert row.clip
    else:
        assert expected in str(row.error)
        assert len(str(row.error)) < 2000
        assert str(row.error).isprintable()


@pytest.mark.parametrize("name", URIS)
def test_a_hostile_address_is_no_video(name: str, tmp_path: Path):
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    uri = storage.resolve(URIS[name], str(tmp_path))
    with pytest.raises((MediaError, StorageError)) as caught:
        probe(storage.open_input(uri))
    assert caught.value.fix
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_hostile_manifest_is_refused_by_name(name: str, tmp_path: Path):
    file, data, expected = MANIFESTS[name]
    (tmp_path / file).write_bytes(data)
    with pytest.raises((ManifestError, RecipeError)) as caught:
        open_manifest(str(tmp_path / file), seed=1)
    assert any(part in str(caught.value) for part in expected.split("|")), str(caught.value)


@pytest.mark.parametrize("name", RECIPES)
def test_a_hostile_recipe_is_refused_by_name(name: str, tmp_path: Path):
    data, expected = RECIPES[name]
    (tmp_path / "a.toml").write_bytes(data)
    if expected == FINE:
        load_recipe(tmp_path / "a.toml")
        return
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "a.toml")
    assert any(part in str(caught.value) for part in expected.split("|")), str(caught.value)
