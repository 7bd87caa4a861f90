"""What the pages say is so."""

import json
import re
import runpy

import pytest
import yaml

from evs_batch.evaluate import FREE, REFERENCE
from evs_batch.quality.choice import SUBJECT
from evs_batch.runtime.failures import DATA_ERRORS
from evs_batch.spec import keys
from evs_batch.spec.errors import EncodeError, ManifestError, MediaError, RecipeError, StorageError
from evs_batch.spec.failures import FAILURES
from evs_batch.spec.manifest import OPTIONAL_COLUMNS, OUTPUT_COLUMNS, REQUIRED
from evs_batch.spec.recipe import recipe_names
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
    for command in ("make lint", "make test"):
        assert command in readme
        assert command in ci


def test_the_page_of_metrics_names_every_column():
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert {*REFERENCE, *FREE, SUBJECT} <= set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE))


def test_githubs_workflow_checks_and_tests_on_every_python_that_the_package_names():
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["test"]
    named = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert job["strategy"]["matrix"]["python"] == named
    steps = [step.get("run", "") for step in job["steps"]]
    assert steps.index("make check") < steps.index("make test")


def test_the_plan_page_shows_what_was_measured_within_a_fifth():
    found = json.loads((ROOT / "bench" / "plan.json").read_text())["rows"]
    page = (ROOT / "docs" / "plan.md").read_text()
    assert len(found) >= 3
    for row in found:
        assert 0.8 < row["planned_s"] / row["measured_s"] < 1.2
        assert f"planned {row['planned_s']:6.1f} s   measured {row['measured_s']:6.1f} s" in page


def test_the_page_of_recipes_has_every_key_and_every_ready_recipe():
    page = (ROOT / "docs" / "recipes.md").read_text()
    assert keys.markdown() in page, "make it anew with `evs-batch recipes keys`"
    assert set(recipe_names()) <= set(re.findall(r"`([a-z0-9_-]+)`", page))


def test_the_code_on_the_page_of_the_algorithm_is_the_code():
    page = (ROOT / "docs" / "algorithm.md").read_text()
    sources = [path.read_text() for path in (ROOT / "evs_batch").rglob("*.py")]
    blocks = code_of(page)
    assert len(blocks) > 5
    for block in blocks:
        assert any(block in source for source in sources), block


def test_the_page_of_errors_has_every_error():
    made = runpy.run_path(str(ROOT / "docs" / "make_errors.py"))
    page = (ROOT / "docs" / "errors.md").read_text()
    assert made["page"]() == page, "make it anew with `python docs/make_errors.py`"
    assert page.count("\n| ") > 150


def test_every_kind_of_failure_has_its_cure():
    kinds = {kind.__name__ for kind in (ManifestError, MediaError, EncodeError, RecipeError, StorageError)}
    assert kinds | {"TooLarge", "Hung", "WorkerDied", *(kind.__name__ for kind in DATA_ERRORS)} <= set(FAILURES)


@pytest.mark.slow
def test_the_cells_of_the_python_page_run():
    names: dict = {}
    for cell in code_of((ROOT / "docs" / "python.md").read_text()):
        exec(cell, names)


def test_links_between_pages_lead_somewhere():
    made = set(runpy.run_path(str(ROOT / "docs" / "hooks.py"))["ELSEWHERE"].values())  # pages of the site alone
    for page in [ROOT / "README.md", ROOT / "manifests" / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([\w./-]+)(?:#[\w-]*)?\)", page.read_text()):
            assert (page.parent / target).exists() or target in made, f"{page.name}: {target}"


def code_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)
