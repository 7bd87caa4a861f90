"""The wheel, installed where nothing of the repository is."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.conftest import ROOT


@pytest.fixture(scope="session")  # tests that start Ray come first, and others of this module much later
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    wheel = ["wheel", "-q", "--no-deps", "--disable-pip-version-check", "-w", str(folder), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", *wheel], check=True)
    return next(folder.glob("evs_batch-*.whl"))


def test_what_is_pinned_installs_on_the_oldest_python():
    """`make` failed with Python 3.11.2, which Debian 12 has: one of its tools wanted 3.11.5."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = project["requires-python"].removeprefix(">=") + ".0"
    pins = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    wanted = {name: found.metadata["Requires-Python"] or "" for name in pins if (found := _installed(name))}
    assert len(wanted) > len(pins) / 2
    assert not {name: pythons for name, pythons in wanted.items() if oldest not in SpecifierSet(pythons)}


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def dependencies() -> set[str]:
    """Names of the distributions that `pip install evs-batch` brings, of those that are installed here."""
    todo = [
        Requirement(text) for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    ]
    found, seen = set[str](), set[str]()
    while todo:
        wanted = todo.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        if not (known := _installed(wanted.name)):
            continue  # torch for CUDA names what torch for processors has not got
        found.add(known.metadata["Name"])
        for text in known.requires or ():
            asked = Requirement(text)
            if asked.marker is None or any(asked.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                todo.append(asked)
    return found


def lend(site: Path) -> None:
    """Link these distributions into an environment."""
    here = Path(sysconfig.get_path("purelib"))
    for name in dependencies():
        for top in {file.parts[0] for file in distribution(name).files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(here / top)


@pytest.mark.slow
def test_recipes_weights_the_demo_and_the_page_are_inside(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"evs_batch/pipelines/{path.name}" for path in (ROOT / "pipelines").glob("*.toml")} <= names
    assert {
        "evs_batch/manifests/demo.parquet", "evs_batch/manifests/clips/short.mp4", "evs_batch/report/page.js",
        "evs_batch/planning/media.json", "evs_batch/planning/devices.toml",
    } <= names  # fmt: skip
    assert any(name.startswith("evs_batch/tiny/weights/") and name.endswith(".safetensors") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "bench/", "evs_batch/tests"))]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_quick_start_works_with_the_installed_package(wheel, tmp_path):
    """Cell by cell, in an environment of its own, with evs-batch's dependencies and theirs, and nothing else."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"], capture_output=True, text=True, check=True
    )
    install = ["install", "-q", "--no-deps", "--disable-pip-version-check", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    lend(Path(site.stdout.strip()))
    without = [python, "-c", "import importlib.util as u; print([u.find_spec(n) for n in ('pytest', 'moto', 'cv2')])"]
    assert subprocess.check_output(without, text=True).strip() == "[None, None, None]"
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    environment = {
        **kept, "RAY_AUTH_MODE": "disabled", "EVS_RUN_LIMIT": "1", "EVS_RUN_OVERRIDES": "runtime.workers=1",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }  # fmt: skip
    page = (ROOT / "docs" / "quickstart.md").read_text()
    cells = re.findall(r"```(sh|python)\n(.*?)```", page, re.DOTALL)
    assert cells[0] == ("sh", "pip install .\n")
    said = ""
    for language, cell in cells[1:]:
        command = ["bash", "-e", "-c", cell] if language == "sh" else [python, "-c", cell]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{cell}{done.stderr}"
        said += done.stdout + done.stderr
    assert said.count("1 of 1 rows done") == 2
    assert f"report    {tmp_path}/out/demo/report.html" in said
    assert "short success" in said, "the cell in Python reads the output manifest"
    assert "GPU hours" in said, "plan"
    assert json.loads((tmp_path / "out" / "demo" / "_run" / "stats.json").read_text())["success"] == 1
    assert list((tmp_path / "out" / "demo" / "previews").glob("*.sheet.jpg"))
