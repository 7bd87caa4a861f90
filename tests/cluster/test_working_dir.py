"""What `ray job submit` takes along, packed by Ray itself."""

import zipfile
from pathlib import Path

import yaml
from ray._private.runtime_env import packaging

from tests.conftest import ROOT


def test_the_working_directory_is_small_and_has_all_that_a_run_needs(tmp_path: Path):
    excludes = yaml.safe_load((ROOT / "cluster" / "runtime_env.yaml").read_text())["excludes"]
    packed = tmp_path / "packed.zip"
    packaging.create_package(str(ROOT), packed, include_gitignore=True, excludes=excludes)
    files = {info.filename: info.file_size for info in zipfile.ZipFile(packed).infolist()}
    print(f"{packed.stat().st_size / 1e6:.1f} MB in {len(files)} files")
    assert packed.stat().st_size < 50e6 < packaging.GCS_STORAGE_MAX_SIZE, "more would be slow, or refused"
    assert {"evs_batch/cli/main.py", "pipelines/enhance.toml", "manifests/demo.parquet"} <= files.keys()
    assert any(name.startswith("evs_batch/tiny/weights/") for name in files)
    assert not [name for name in files if name.startswith((".git/", ".venv/", "tests/", "docs/", "out/", "site/"))]
