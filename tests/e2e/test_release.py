"""A config of the EVS release, unchanged, on models with the names and layouts of the published ones."""

import json
import os
import subprocess
from pathlib import Path

import huggingface_hub.constants
import pytest

from evs_batch.models import zoo
from evs_batch.models.places import Hub
from tests.commands import run_here
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


@pytest.fixture
def here(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process knows that cache, too."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub))


@pytest.fixture
def config(make_video, tmp_path: Path) -> Path:
    """The config of the release page, for two short videos beside it."""
    for name in ENHANCE["mp4_files"]:
        make_video(name, frames=2, height=32, width=32)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(ENHANCE))
    return path


def test_the_config_runs_unchanged_and_the_videos_are_twice_as_large(config: Path, hub: Path, tmp_path: Path):
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment = {**inherited, "HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    few = ["--set", "runtime.frames_per_forward=2", "--set", "runtime.workers=1"]  # a pass is always so long
    done = subprocess.run(
        [str(BIN / "evs-batch"), "run", str(config), *few, "--output", str(tmp_path / "out")],
        capture_output=True, text=True, env=environment, timeout=280, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'model = "lightningEP"' in done.stderr, "the recipe that it means is shown"
    rows = output_rows(tmp_path / "out")
    assert [(row["status"], row["width"], row["height"], row["num_frames"]) for row in rows] == [
        ("success", 64, 64, 2)
    ] * 2
    assert {row["prompt"] for row in rows} == set(ENHANCE["prompts"])


def test_a_manifest_is_made_of_it(config: Path, here: None, tmp_path: Path):
    done = run_here("manifest", "create", config, "-o", tmp_path / "sub" / "videos.parquet")
    assert 'composition = "T2I+[T2V]+T2I"' in done.stdout
    assert "2 of 2 rows are good" in run_here("validate", tmp_path / "sub" / "videos.parquet").stderr


def test_without_the_models_nothing_is_started_and_the_command_that_gets_them_is_said(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    done = run_here("run", config, "--output", tmp_path / "out", code=2)
    assert "evs-batch models fetch EP" in done.stderr
    assert not (tmp_path / "out").exists()


def test_fetched_models_are_listed_and_verified(here: None):
    lines = run_here("models", "list").stdout.splitlines()
    assert next(line for line in lines if line.startswith("EP ")).endswith("yes ")
    assert next(line for line in lines if line.startswith("SD ")).endswith("no  ")
    done = run_here("models", "verify", "EP", "lightningEP")
    assert "EP: every tensor of unet, vae and text encoder is there and fits" in done.stdout
    assert done.stdout.count("SHA-256 ") >= 4


def test_a_damaged_file_is_found(hub: Path, here: None):
    weights = next((hub / "models--emilianJR--epiCRealism" / "snapshots").glob("*/vae/*.safetensors")).resolve()
    whole = weights.read_bytes()
    try:
        weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert "delete it and fetch it again" in run_here("models", "verify", "EP", code=2).stderr
    finally:
        weights.write_bytes(whole)
