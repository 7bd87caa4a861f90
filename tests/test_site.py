"""The pages as a site, and the commands that they show."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.commands import complaint
from tests.conftest import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "manifests/README.md")),
    ROOT / "evs_batch" / "tiny" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCED, INDENTED = (
    re.compile(r"```sh\n(.*?)```", re.DOTALL),
    re.compile(r"^ {4}((?:evs-batch|cluster/).*)$", re.MULTILINE),
)
FILES = sorted(path for path in (ROOT / "cluster").rglob("*") if path.suffix in (".yaml", ".sh", "") and path.is_file())
INLINE = re.compile(r"`(evs-batch [^`…]*)`")
FOR_OURS = ("cluster/submit.sh", "cluster/slurm.sh")


def typed(page: str) -> Iterator[str]:
    """Lines for a shell."""
    for block in FENCED.findall(page):
        yield from block.replace("\\\n", " ").splitlines()
    yield from INDENTED.findall(page)


def commands(lines: Iterable[str]) -> Iterator[list[str]]:
    """Those for evs-batch, also by way of a script or a container."""
    for line in lines:
        words = shlex.split(line, comments=True)
        if script := next((word for word in words if word in FOR_OURS), None):
            given = words[words.index(script) + 1 :]
            yield ["evs-batch", "run", *(given[1:] if script.endswith("submit.sh") else given)]
        elif "evs-batch" in words and "kubectl" not in line:  # there it is the name of something
            yield words[words.index("evs-batch") :]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_on_a_page_exist(page):
    text = page.read_text()
    for words in commands(typed(text)):
        assert complaint(words) == "", shlex.join(words)
    for words in commands(found.replace("\n", " ") for found in INLINE.findall(text)):
        assert complaint(words, mentioned=True) == "", shlex.join(words)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_commands_in_the_head_of_a_file_exist(file):
    said = re.findall(r"^#(   .*)$", file.read_text(), re.MULTILINE)
    shown = [line for line in "\n".join(said).replace("\\\n", " ").splitlines() if "[options" not in line]
    for words in commands(shown):
        assert complaint(words) == "", shlex.join(words)


def test_a_command_that_does_not_exist_is_seen():
    (words,) = commands(typed("```sh\nevs-batch run a.parquet --recipee demo  # so\n```"))
    assert "--recipee" in complaint(words)
    (words,) = commands(typed("    cluster/submit.sh http://HEAD:8265 a.parquet --outputs o"))
    assert "--outputs" in complaint(words)
    assert "Missing parameter" in complaint(["evs-batch", "run"])
    run = ["evs-batch", "run", "a.parquet", "--output", "o", "--recipe"]
    assert "did you mean 'enhance'" in complaint([*run, "enhanced"])
    assert "t2i.strenght" in complaint([*run, "enhance", "--set", "t2i.strenght=1"])


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_takes_nothing_from_elsewhere(tmp_path: Path):
    built = subprocess.run(
        [Path(sys.executable).parent / "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text()
        assert re.findall(r'<(?:script|img)[^>]*\ssrc="(https?:[^"]*)"', text) == []
        assert re.findall(r'<link[^>]*rel="(?:stylesheet|preconnect)"[^>]*href="(https?:[^"]*)"', text) == []
