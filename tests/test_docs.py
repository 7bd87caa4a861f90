"""What the pages say is so."""

import re

from evs_batch.evaluate import FREE, REFERENCE
from evs_batch.quality.choice import SUBJECT
from evs_batch.spec.manifest import OPTIONAL_COLUMNS, OUTPUT_COLUMNS, REQUIRED
from tests.conftest import ROOT


def test_the_schema_page_names_every_column():
    page = (ROOT / "manifests" / "README.md").read_text()
    named = set(re.findall(r"`([a-z0-9_]+)`", page))
    known = {
        *REQUIRED,
        *OPTIONAL_COLUMNS,
        *OUTPUT_COLUMNS,
        *(alias for aliases in REQUIRED.values() for alias in aliases),
    }
    assert known <= named


def test_ci_and_the_readme_name_the_same_commands():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    for command in ("make check", "make test"):
        assert command in readme
        assert command in ci


def test_the_page_of_metrics_names_every_column():
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert {*REFERENCE, *FREE, SUBJECT} <= set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE))
