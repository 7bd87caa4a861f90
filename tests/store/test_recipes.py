"""Recipes from any storage."""

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

import evs_batch
from evs_batch.spec.errors import RecipeError
from evs_batch.spec.recipe import PIPELINES
from evs_batch.store.recipes import load_recipe


@pytest.fixture
def bucket() -> Iterator[fsspec.AbstractFileSystem]:
    """A storage that is no local disk."""
    storage = fsspec.filesystem("memory")
    yield storage
    storage.store.clear()


def test_ready_recipes_and_files_are_found_as_before(tmp_path: Path):
    assert load_recipe("demo", ["seed=5"]).seed == 5
    (tmp_path / "mine.toml").write_text("seed = 7")
    assert load_recipe(tmp_path / "mine.toml").seed == 7
    assert evs_batch.load_recipe is load_recipe


def test_recipes_lie_on_any_storage(bucket: fsspec.AbstractFileSystem):
    bucket.pipe_file("/recipes/mine.toml", (PIPELINES / "demo.toml").read_bytes())
    assert load_recipe("memory://recipes/mine.toml") == load_recipe("demo")


def test_a_config_of_the_release_is_a_recipe_there_too(bucket: fsspec.AbstractFileSystem):
    config = {"mp4_files": ["a.mp4"], "prompts": ["a cat"], "pipeline_mode": "IDM_VDM_IDM", "idm_type": "EP_X2.0"}
    bucket.pipe_file("/jobs/config.json", json.dumps(config).encode())
    assert load_recipe("memory://jobs/config.json").t2i.upscale == 2.0


@pytest.mark.parametrize("name", ["memory://nowhere/mine.toml", "memory://recipes", "/tmp", "nothing"])
def test_what_is_no_recipe_is_said(name: str, bucket: fsspec.AbstractFileSystem):
    bucket.makedirs("/recipes", exist_ok=True)
    with pytest.raises(RecipeError, match="neither a ready recipe nor a TOML file"):
        load_recipe(name)


def test_a_storage_that_cannot_be_reached_is_said():
    with pytest.raises(RecipeError, match=r"nothere://a/mine\.toml.*cannot be read"):
        load_recipe("nothere://a/mine.toml")


def test_a_storage_with_errors_of_its_own_is_said(monkeypatch: pytest.MonkeyPatch, bucket: fsspec.AbstractFileSystem):
    class NoCredentialsError(Exception):
        pass

    def refuse(*args: object, **kwargs: object) -> None:
        raise NoCredentialsError("no credentials")

    monkeypatch.setattr(type(bucket), "cat_file", refuse)
    with pytest.raises(RecipeError, match=r"cannot be used \(NoCredentialsError: no credentials\)"):
        load_recipe("memory://recipes/mine.toml")
