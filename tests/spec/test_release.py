"""Configs of the EVS release, as they are."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evs_batch.spec import release, toml
from evs_batch.spec.errors import EvsError, ManifestError, RecipeError
from evs_batch.spec.recipe import load_recipe, parse_recipe, recipe_names

ENHANCE = {  # the example of the release page
    "mp4_files": ["a.mp4", "b.mp4"],
    "prompts": ["a cat", "a dog"],
    "using_attn": True,
    "pipeline_mode": "IDM_VDM_IDM",
    "idm_invert_mode": "random",
    "vdm_invert_mode": "random",
    "idm_invert_mode_2": "ddim",
    "vdm_type": "lightningEP",
    "idm_type": "EP_X2.0",
    "idm_inverse_strength": 0.4,
    "vdm_inverse_strength": 0.4,
    "stable_num": 2,
    "stable_steps": [8],
    "seed": 23,
}


def recipe_of(**changes: object):
    return parse_recipe(release.read_recipe(json.dumps({**ENHANCE, **changes})))


def test_the_config_of_the_release_page_is_the_recipe_that_it_means(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps(ENHANCE))
    recipe = load_recipe(tmp_path / "config.json")
    t2i, t2v = recipe.t2i, recipe.t2v
    assert (recipe.composition, recipe.seed) == ("T2I+[T2V]+T2I", 23)
    assert (t2i.model, t2i.upscale, t2i.strength, t2i.executed_steps) == ("EP", 2.0, 0.4, 20)
    assert (t2i.entry, t2i.reentry, t2i.attention) == ("random", "ddim", "first_frame")
    assert (t2v.model, t2v.steps, t2v.guidance, t2v.entry) == ("lightningEP", 8, 1.0, "random")
    assert (t2v.strength, t2v.block_steps, t2v.switch_at) == (0.4, 2, (8,))
    assert release.read_rows(json.dumps(ENHANCE)) == [
        {"uri": "a.mp4", "prompt": "a cat"}, {"uri": "b.mp4", "prompt": "a dog"},
    ]  # fmt: skip


@pytest.mark.parametrize(("mode", "composition"), release.COMPOSITIONS.items())
def test_every_pipeline_mode_is_a_composition(mode: str, composition: str):
    assert recipe_of(pipeline_mode=mode).composition == composition


@pytest.mark.parametrize(
    ("idm_type", "model", "upscale"),
    [("EP_X2.0", "EP", 2.0), ("RV_X1.5", "RV", 1.5), ("watercolor_X1", "watercolor", 1.0), ("SD", "SD", 1.0)],
)
def test_the_type_of_the_t2i_holds_its_upscale_rate(idm_type: str, model: str, upscale: float):
    recipe = recipe_of(idm_type=idm_type)
    assert (recipe.t2i.model, recipe.t2i.upscale) == (model, upscale)


def test_an_lcm_gets_the_guidance_of_its_authors():
    assert recipe_of(vdm_type="animatelcm").t2v.guidance == 1.5


def test_overrides_come_after_the_config(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps(ENHANCE))
    assert load_recipe(tmp_path / "config.json", ["t2i.upscale=1.0"]).t2i.upscale == 1.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pipeline_mod": "IDM"}, ["pipeline_mod", "did you mean 'pipeline_mode'?"]),
        ({"pipeline_mode": "IDM_IDM"}, ["pipeline_mode='IDM_IDM'", "IDM_VDM_IDM"]),
        ({"using_attn": "yes"}, ["using_attn='yes'", "true or false"]),
        ({"idm_type": 3}, ["idm_type=3", "for example EP_X2.0"]),
        ({"stable_steps": [20]}, ["t2v.switch_at=[20]", "0..19"]),
        ({"stable_num": "two"}, ["t2v.block_steps='two'"]),
        ({"idm_invert_mode": "sdedit"}, ["t2i.entry='sdedit'", "'random' or 'ddim'"]),
    ],
)
def test_a_wrong_config_says_value_rule_and_fix(changes: dict, said: list[str]):
    with pytest.raises(RecipeError) as caught:
        recipe_of(**changes)
    assert all(part in str(caught.value) for part in said), str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompts": ["only one"]}, "2 mp4_files and 1 prompts: must be as many prompts as files"),
        ({"mp4_files": "a.mp4"}, "mp4_files='a.mp4': must be a list"),
    ],
)
def test_rows_that_do_not_match_are_refused(changes: dict, said: str):
    with pytest.raises(ManifestError, match=said):
        release.read_rows(json.dumps({**ENHANCE, **changes}))


@pytest.mark.parametrize("text", ["", "[1]", "{", "nul", "[" * 100_000, b"\xff\xfe"])
def test_what_is_no_config_is_refused(text: str):
    for read in (release.read_rows, release.read_recipe):
        with pytest.raises(EvsError):
            read(text)


@given(
    st.dictionaries(
        st.sampled_from([*ENHANCE]), st.none() | st.booleans() | st.floats() | st.text() | st.lists(st.integers())
    )
)
def test_no_config_crashes(config: dict):
    for read in (release.read_rows, lambda text: parse_recipe(release.read_recipe(text))):
        with contextlib.suppress(EvsError):
            read(json.dumps(config))


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_written_as_toml_is_the_same_recipe(name: str, tmp_path: Path):
    recipe = load_recipe(name, ["t2i.loras=[{path='a.safetensors', weight=0.5}]"])
    (tmp_path / "r.toml").write_text(toml.dump(recipe.model_dump(mode="json")))
    assert load_recipe(tmp_path / "r.toml") == recipe
