from pathlib import Path

import pytest

from evs_batch.spec.errors import RecipeError
from evs_batch.spec.recipe import Recipe, load_recipe, parse_recipe, recipe_names


def test_a_ready_recipe_is_loaded_by_name_and_changed_by_overrides():
    recipe = load_recipe("demo", ["t2i.strength=0.3", "output.quality=20", "t2v.switch_at=[5, 2]"])
    assert (recipe.t2i.strength, recipe.output.quality, recipe.t2v.switch_at) == (0.3, 20, (5, 2))


def test_every_ready_recipe_is_valid():
    assert {"demo", "identity"} <= set(recipe_names())
    assert all(isinstance(load_recipe(name), Recipe) for name in recipe_names())


def test_the_paper_runs_twenty_of_fifty_steps_and_rounds_instead_of_cutting():
    assert parse_recipe({"t2i": {"steps": 50, "strength": 0.4}}).t2i.executed_steps == 20
    assert int(50 * 0.58) == 28
    assert parse_recipe({"t2i": {"steps": 50, "strength": 0.58}}).t2i.executed_steps == 29


@pytest.mark.parametrize(
    ("tree", "parts"),
    [
        ({"t2i": {"strenght": 0.4}}, ["t2i.strenght", "unknown", "did you mean 't2i.strength'?"]),
        ({"sede": 1}, ["sede", "did you mean 'seed'?"]),
        ({"t2i": {"strength": 1.5}}, ["t2i.strength=1.5", "less than or equal to 1"]),
        ({"t2i": {"steps": "many"}}, ["t2i.steps='many'", "integer"]),
        ({"composition": "T2V+T2V"}, ["composition='T2V+T2V'", "T2I+[T2V]+T2I"]),
        ({"t2v": {"switch_at": [24]}}, ["t2v.switch_at=[24]", "0..19", "20 T2I steps", "raise t2i.strength"]),
        ({"t2v": {"switch_at": []}}, ["t2v.switch_at=[]", "0..19"]),
        ({"t2v": {"switch_at": [2, 5]}}, ["t2v.switch_at=[2, 5]", "descending"]),
        ({"t2v": {"switch_at": [0], "switch_counts": "current"}}, ["t2v.switch_at=[0]", "1..20"]),
        ({"t2v": {"switch_at": "evry"}}, ["t2v.switch_at", "'evry'"]),
        ({"t2v": {"switch_at": "every"}, "t2i": {"steps": 400}}, ["t2v.switch_at='every'", "at most 100 blocks"]),
        ({"t2v": {"entry": "mixed"}}, ["t2v.entry='mixed'", "needs a T2I that has finished"]),
        (
            {"t2i": {"attention": "first_frame"}, "runtime": {"frames_per_forward": 1}},
            ["frames_per_forward=1", "raise"],
        ),
        ({"t2v": {"block_steps": 9}}, ["t2v.block_steps=9", "at most 3"]),
        ({"t2v": {"overlap": 16}}, ["t2v.overlap=16", "below t2v.window=16"]),
        ({"sfi": {"enabled": True}}, ["t2v.entry='random'", "must be 'ddim' with sfi.enabled", "set t2v.entry"]),
        ({"composition": "T2V", "t2v": {"strength": 0.01}}, ["t2v.strength=0.01", "gives no step"]),
        ({"t2i": {"loras": [{"path": "x", "weigth": 1}]}}, ["weigth", "unknown"]),
        ({"t2i": {"strength": 0.001}}, ["t2i.strength=0.001", "gives no step"]),
    ],
)
def test_a_wrong_recipe_says_value_rule_and_fix(tree: dict, parts: list[str]):
    with pytest.raises(RecipeError) as caught:
        parse_recipe(tree)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'demo'"):
        load_recipe("dmo")


def test_a_file_that_is_no_toml_is_named(tmp_path: Path):
    (tmp_path / "bad.toml").write_text("composition = = 3")
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_recipe(tmp_path / "bad.toml")


@pytest.mark.parametrize("override", ["t2i.strength", "seed.deep=3"])
def test_a_malformed_override_is_refused(override: str):
    with pytest.raises(RecipeError, match="--set"):
        load_recipe("demo", [override])


def test_the_fingerprint_follows_what_can_change_a_pixel_and_nothing_else():
    base = load_recipe("demo")
    assert base.fingerprint == load_recipe("demo", ["runtime.memory_gb=1.5", "runtime.batch_frames=8"]).fingerprint
    assert base.fingerprint != load_recipe("demo", ["seed=24"]).fingerprint
    assert base.fingerprint != load_recipe("demo", ["runtime.precision='fp32'"]).fingerprint


def test_a_row_with_another_strength_runs_other_steps_and_must_fit_the_blocks():
    recipe = parse_recipe({"t2v": {"switch_at": [8]}})
    assert recipe.at(None) is recipe
    assert recipe.at(0.6).t2i.executed_steps == 30
    with pytest.raises(RecipeError, match=r"t2v\.switch_at=\[8\]"):
        recipe.at(0.1)
    with pytest.raises(RecipeError, match="rows share one strength"):
        parse_recipe({"t2v": {"switch_at": "every"}}).at(0.5)
