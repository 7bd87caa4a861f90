"""`ray job submit` to a head node that `ray start --head` started."""

import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import Head, environment, output_rows

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_a_submitted_job_enhances_videos_and_writes_the_manifest(head: Head, tmp_path: Path):
    done = subprocess.run(
        [
            str(ROOT / "cluster" / "submit.sh"), head.dashboard, str(ROOT / "manifests" / "demo.parquet"),
            "--recipe", "demo", "--limit", "2", "--output", str(tmp_path / "out"),
        ],
        capture_output=True, text=True, env=environment(), timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout
    assert "2 of 2 rows done" in done.stdout
    rows = output_rows(tmp_path / "out")
    assert [(row["id"], row["status"]) for row in sorted(rows, key=lambda row: row["id"])] == [
        ("film", "success"),
        ("short", "success"),
    ]
    assert all(Path(row["output_uri"]).stat().st_size == row["output_bytes"] for row in rows)
