"""Commands on the pages that need no GPU, no published weights and no cluster, run as they stand.

Those of the quick start are run by tests/test_package.py, the cells of docs/python.md by tests/test_docs.py; all others
are read by tests/test_site.py.
"""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evs_batch.cli.main import app
from tests.conftest import ROOT
from tests.test_site import PAGES, commands, typed

pytestmark = [pytest.mark.ray, pytest.mark.slow]
RUN = ("manifest", "validate", "status", "report", "evaluate", "plan", "doctor", "recipes")
ELSEWHERE = ("auto", "--weights")  # clusters, fetched weights


def can_run(words: list[str]) -> bool:
    """Whether a command needs nothing but this folder; plans by a short run would need the models."""
    far = any(word in ELSEWHERE or word.startswith("/shared/") or word in ("-h", "--help") for word in words)
    return words[1] in RUN and not far and (words[1] != "plan" or "--costs" in words)


@pytest.fixture
def folder(tmp_path: Path, evs_batch: Callable, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages take for granted: a folder of clips, manifests, costs that were measured, runs that are done."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "manifests" / "clips", "clips")
    create = ["manifest", "create", "clips/short.mp4", "--prompt", "a red star", "-o", "all.parquet"]
    plan = ["plan", "all.parquet", "--recipe", "enhance", "--gpus", "1", "--costs", "H200", "--json", "one.json"]
    for arguments in (create, plan):
        assert CliRunner().invoke(app, arguments).exit_code == 0
    evs_batch("run", tmp_path / "all.parquet", "--recipe", "identity", "--output", tmp_path / "out" / "videos")
    for name in ("a", "b"):
        shutil.copytree("out/videos", f"out/{name}")
    return tmp_path


def test_commands_on_the_pages_do_what_they_say(folder: Path):
    pages = [page.read_text() for page in PAGES if page.name != "quickstart.md"]
    shown = [words for page in pages for words in commands(typed(page)) if can_run(words)]
    print(*map(shlex.join, shown), sep="\n")
    assert {words[1] for words in shown} >= {"manifest", "validate", "status", "report", "evaluate", "plan", "doctor"}
    for words in shown:
        done = CliRunner().invoke(app, words[1:])
        lacking = words[1] == "doctor"  # the weights, on a machine that has none
        assert done.exit_code in ((0, 1) if lacking else (0,)), f"{shlex.join(words)}\n{done.output}{done.exception}"
    assert (folder / "videos.parquet").is_file()
    assert (folder / "out" / "videos" / "quality" / "metrics.parquet").is_file()
