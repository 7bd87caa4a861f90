"""A config of the EVS release, unchanged, on models with the names and layouts of the published ones."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from evs_batch.models import zoo
from evs_batch.models.places import Hub
from tests.conftest import ROOT
from tests.e2e.conftest import BIN, output_rows
from tests.models import checkpoints
from tests.spec.test_release import ENHANCE

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the hub that holds EP and lightningEP, small, at their pinned revisions."""
    root = tmp_path_factory.mktemp("hub")
    source = zoo.T2V_MODELS["lightningEP"]
    base, motion = source.base.weights, source.motion
    assert isinstance(base, Hub)
    assert isinstance(motion, Hub)
    checkpoints.put_in_cache(root / "hub", base.repo, checkpoints.diffusers_folder(root / "made" / "ep"), base.revision)
    checkpoints.diffusers_motion_file(root / "made" / "motion" / motion.file)
    checkpoints.put_in_cache(root / "hub", motion.repo, root / "made" / "motion", motion.revision)
    return root / "hub"


def evs_batch(*arguments: str | Path, hub: Path, code: int = 0) -> subprocess.CompletedProcess:
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment = {**inherited, "HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [str(BIN / "evs-batch"), *map(str, arguments)],
        capture_output=True, text=True, env=environment, timeout=280, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture
def config(make_video, tmp_path: Path) -> Path:
    """The config of the release page, for two short videos beside it."""
    for name in ENHANCE["mp4_files"]:
        make_video(name, frames=2, height=32, width=32)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(ENHANCE))
    return path


def test_the_config_runs_unchanged_and_the_videos_are_twice_as_large(config: Path, hub: Path, tmp_path: Path):
    few = ["--set", "runtime.frames_per_forward=2"]  # a pass is always so long, and these videos are short
    done = evs_batch("run", config, *few, "--output", tmp_path / "out", hub=hub)
    assert 'model = "lightningEP"' in done.stderr, "the recipe that it means is shown"
    rows = output_rows(tmp_path / "out")
    assert [(row["status"], row["width"], row["height"], row["num_frames"]) for row in rows] == [
        ("success", 64, 64, 2)
    ] * 2
    assert {row["prompt"] for row in rows} == set(ENHANCE["prompts"])


def test_a_manifest_is_made_of_it(config: Path, hub: Path, tmp_path: Path):
    done = evs_batch("manifest", "create", config, "-o", tmp_path / "sub" / "videos.parquet", hub=hub)
    assert 'composition = "T2I+[T2V]+T2I"' in done.stdout
    assert "2 of 2 rows are good" in evs_batch("validate", tmp_path / "sub" / "videos.parquet", hub=hub).stderr


def test_without_the_models_nothing_is_started_and_the_command_that_gets_them_is_said(config: Path, tmp_path: Path):
    done = evs_batch("run", config, "--output", tmp_path / "out", hub=tmp_path / "empty", code=2)
    assert "evs-batch models fetch EP" in done.stderr
    assert not (tmp_path / "out").exists()


def test_fetched_models_are_listed_and_verified(hub: Path):
    lines = evs_batch("models", "list", hub=hub).stdout.splitlines()
    assert next(line for line in lines if line.startswith("EP ")).endswith("yes ")
    assert next(line for line in lines if line.startswith("SD ")).endswith("no  ")
    done = evs_batch("models", "verify", "EP", "lightningEP", hub=hub)
    assert "EP: every tensor of unet, vae and text encoder is there and fits" in done.stdout
    assert done.stdout.count("SHA-256 ") >= 4


def test_a_damaged_file_is_found(hub: Path):
    weights = next((hub / "models--emilianJR--epiCRealism" / "snapshots").glob("*/vae/*.safetensors")).resolve()
    whole = weights.read_bytes()
    try:
        weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert "delete it and fetch it again" in evs_batch("models", "verify", "EP", hub=hub, code=2).stderr
    finally:
        weights.write_bytes(whole)
