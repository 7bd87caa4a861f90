"""Bounded fuzzing: whatever is handed in, what comes out is a result or an error with value, rule and fix.

`EVS_FUZZ=N` plays N examples of each, instead of a few.
"""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evs_batch.spec.errors import EvsError
from evs_batch.spec.recipe import parse_recipe
from evs_batch.store.reading import open_manifest, passed_through
from evs_batch.store.recipes import load_recipe
from tests.hostile.child import LIMIT_S, outcome
from tests.hostile.videos import FAST, OTHERS

EXAMPLES = int(os.environ.get("EVS_FUZZ", "60"))
few = settings(max_examples=EXAMPLES, suppress_health_check=[*HealthCheck])
KEYS = ["t2i", "t2v", "output", "runtime", "composition", "seed", "strength", "switch_at", "model", "steps", "loras"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20) | st.dates()
NAMES = st.sampled_from(KEYS) | st.text()
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4))
SHOTS = st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=8)), min_size=1, max_size=20)
CELLS = st.dictionaries(
    st.sampled_from(["id", "uri", "prompt", "negative_prompt", "seed", "strength", "caption", "note"]),
    st.text(max_size=30) | st.integers(-(2**63), 2**63 - 1) | SCALARS.filter(lambda cell: not isinstance(cell, int)),
)
VIDEOS = {"mp4": FAST, **OTHERS}


def shot(data: bytes, shots: list[tuple[int, bytes]]) -> bytes:
    """A file with other bytes here and there; a short one grows or ends early."""
    broken = bytearray(data)
    for at, value in shots:
        broken[at % len(broken) : at % len(broken) + len(value)] = value
    return bytes(broken[: shots[0][0]] if shots[0][0] % 5 == 0 and shots[0][0] else broken)


def read(path: Path) -> None:
    """All of a manifest, as a run reads it."""
    source = open_manifest(str(path), seed=1)
    passed_through(source.schema)
    assert len({row.id for row in source}) == source.rows


def survives(do: Callable[[], Any]) -> None:
    """A result, or an error that can be shown."""
    said = ["nothing"]
    try:
        do()
    except EvsError as error:
        said = [error.value, error.rule, error.fix, str(error)]
    assert all(said)
    assert said[-1].isprintable()


@given(st.dictionaries(NAMES, TREES, max_size=5))
@few
def test_no_tree_whatsoever_breaks_the_reader_of_recipes(tree: dict[str, Any]):
    survives(lambda: parse_recipe(tree))


@given(st.binary(max_size=200) | SHOTS.map(lambda shots: shot(b"seed = 3\n[t2i]\nstrength = 0.4\n" * 3, shots)))
@few
def test_no_bytes_whatsoever_break_the_reader_of_recipe_files(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(data)
    survives(lambda: load_recipe(path))


@given(st.sampled_from(KEYS), st.text())
@few
def test_no_override_whatsoever_breaks_the_command_line(key: str, text: str):
    survives(lambda: load_recipe("demo", [f"{key}={text}"]))


@given(st.lists(CELLS, max_size=6))
@few
def test_no_table_whatsoever_breaks_the_reader_of_manifests(tmp_path_factory: pytest.TempPathFactory, rows: list):
    path = tmp_path_factory.getbasetemp() / "fuzz.parquet"
    try:
        pq.write_table(pa.Table.from_pylist(rows), path)
    except (pa.ArrowException, NotImplementedError):
        return  # Arrow cannot hold it
    survives(lambda: read(path))


@given(st.sampled_from([".csv", ".jsonl", ".json", ".parquet"]), st.binary(max_size=300))
@few
def test_no_bytes_whatsoever_break_the_reader_of_manifests(tmp_path_factory: Any, suffix: str, data: bytes):
    path = (tmp_path_factory.getbasetemp() / "fuzz").with_suffix(suffix)
    path.write_bytes(data)
    survives(lambda: read(path))


@given(SHOTS)
@few
def test_no_damage_whatsoever_breaks_the_reader_of_parquet(tmp_path_factory: pytest.TempPathFactory, shots: list):
    rows = [{"id": f"r{number}", "uri": "a.mp4", "prompt": "a star", "seed": number} for number in range(5)]
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    path = tmp_path_factory.getbasetemp() / "shot.parquet"
    path.write_bytes(shot(buffer.getvalue(), shots))
    survives(lambda: read(path))


@pytest.mark.parametrize("name", VIDEOS)
def test_no_damage_whatsoever_breaks_the_reader_of_videos(name: str, child: ProcessPoolExecutor, tmp_path: Path):
    data = VIDEOS[name](tmp_path)

    @given(SHOTS)
    @settings(few, max_examples=max(1, EXAMPLES // 4))
    def damaged(shots: list[tuple[int, bytes]]) -> None:
        assert child.submit(outcome, shot(data, shots)).result(LIMIT_S).isprintable()

    damaged()
