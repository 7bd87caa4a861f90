"""The wheel, installed where nothing of the repository is."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--disable-pip-version-check",
        "-w",
        str(folder),
    ]
    subprocess.run([*command, str(ROOT)], check=True)
    return next(folder.glob("evs_batch-*.whl"))


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
def test_the_installed_package_runs_the_demo_anywhere(wheel, tmp_path):
    """In an environment of its own, which borrows everything but evs-batch from the one of the tests."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"], capture_output=True, text=True, check=True
    )
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--no-deps",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, str(wheel)], check=True)
    (Path(site.stdout.strip()) / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    command = [
        tmp_path / "venv" / "bin" / "evs-batch",
        "run",
        "demo",
        "--recipe",
        "demo",
        "--limit",
        "1",
        "--output",
        "out",
    ]
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    environment = {**kept, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 rows done" in done.stderr
    assert f"report    {tmp_path}/out/report.html" in done.stdout
    assert json.loads((tmp_path / "out" / "_run" / "stats.json").read_text())["success"] == 1
    assert (tmp_path / "out" / "report.html").is_file()
    assert list((tmp_path / "out" / "previews").glob("*.sheet.jpg"))
