import pytest
from hypothesis import given
from hypothesis import strategies as st

from evs_batch.spec.errors import EvsError, ManifestError
from evs_batch.spec.manifest import default_id, is_safe_id, read_row, resolve_columns

COLUMNS = {"uri": "uri", "prompt": "prompt"}


def test_a_row_becomes_a_clip():
    row = read_row(3, {"id": "a", "uri": "x.mp4", "prompt": "a cat", "seed": 7}, COLUMNS, seed=23)
    assert row.error is None
    assert vars(row.clip) == {
        "id": "a",
        "uri": "x.mp4",
        "prompt": "a cat",
        "negative_prompt": "",
        "seed": 7,
        "strength": None,
        "number": 3,
    }


@pytest.mark.parametrize("cell", [0.3, "0.3"])
def test_a_row_may_ask_for_its_own_strength(cell: object):
    row = read_row(0, {"uri": "x", "prompt": "p", "strength": cell}, COLUMNS, seed=23)
    assert row.clip
    assert row.clip.strength == 0.3


def test_aliases_are_found_and_the_true_names_win():
    assert resolve_columns(["video_path", "caption"]) == {"uri": "video_path", "prompt": "caption"}
    assert resolve_columns(["url", "uri", "text", "prompt"]) == COLUMNS


def test_a_missing_column_is_named_with_its_aliases():
    with pytest.raises(ManifestError, match=r"'prompt' \(or caption, text\)"):
        resolve_columns(["uri", "promt"])


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"uri": None, "prompt": "p"}, "uri='None'"),
        ({"uri": "x", "prompt": "  "}, "non-empty"),
        ({"uri": "x", "prompt": 5}, "prompt='5'"),
        ({"uri": "x", "prompt": "p" * 20_000}, "at most 10000"),
        ({"uri": "x\0y", "prompt": "p"}, "NUL"),
        ({"uri": "x", "prompt": "p", "seed": -1}, "seed=-1"),
        ({"uri": "x", "prompt": "p", "seed": 1.5}, "seed=1.5"),
        ({"uri": "x", "prompt": "p", "seed": float("nan")}, "seed=nan"),
        ({"uri": "x", "prompt": "p", "strength": 0}, "strength='0'"),
        ({"uri": "x", "prompt": "p", "strength": 1.01}, "at most 1"),
        ({"uri": "x", "prompt": "p", "strength": "much"}, "strength='much'"),
        ({"uri": "x", "prompt": "p", "strength": True}, "strength='True'"),
        ({"uri": "x", "prompt": "p", "strength": 10**400}, "strength='1000"),
        ({"uri": "x", "prompt": "p", "id": "../../etc/passwd"}, "id='../../etc/passwd'"),
        ({"uri": "x", "prompt": "p", "id": ".hidden"}, "must be 1 to 200"),
    ],
)
def test_a_bad_row_keeps_its_error_and_gets_a_safe_id(cells: dict, said: str):
    row = read_row(0, cells, COLUMNS, seed=23)
    assert row.clip is None
    assert said in str(row.error)
    assert is_safe_id(row.id)


def test_equal_rows_without_ids_are_told_apart():
    cells = {"uri": "x", "prompt": "p"}
    assert default_id(cells) != default_id(cells, repeat=1) != default_id(cells, repeat=2)
    assert default_id(cells) == default_id({**cells, "status": "failed"}), "output columns are not part of a row"


@given(
    st.dictionaries(
        st.sampled_from(["id", "uri", "prompt", "negative_prompt", "seed", "strength"]),
        st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.booleans(), st.binary()),
    )
)
def test_no_cell_whatsoever_breaks_the_reader(cells: dict):
    row = read_row(0, {"uri": None, "prompt": None, **cells}, COLUMNS, seed=1)
    assert (row.clip is None) == (row.error is not None)
    assert is_safe_id(row.id)
    assert row.error is None or isinstance(row.error, EvsError)
