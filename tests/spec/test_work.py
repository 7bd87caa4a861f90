from evs_batch.spec.recipe import load_recipe, parse_recipe
from evs_batch.spec.work import path


def names(**tree) -> list[str]:
    return [stage.name for stage in path(parse_recipe(tree))]


def test_the_t2i_pool_is_visited_twice_around_the_block():
    stages = path(load_recipe("demo", ["t2v.switch_at=[3]"]))
    assert [stage.name for stage in stages] == ["probe", "decode", "t2i_a", "t2v", "t2i_b", "encode"]
    assert [stage.role for stage in stages] == ["media", "media", "t2i", "t2v", "t2i", "media"]


def test_every_need_is_given_before():
    for tree in ({}, {"t2i": {"reentry": "random"}}, {"t2v": {"switch_at": (8, 4, 0)}}, {"composition": "identity"}):
        there: set[str] = set()
        for stage in path(parse_recipe(tree)):
            assert set(stage.needs) <= there, stage
            there |= set(stage.gives)


def test_noise_is_kept_only_where_t2i_comes_back_to_it():
    carried = {name: "eps" in [n for stage in path(parse_recipe({"composition": name})) for n in stage.gives]
               for name in ("T2I", "T2V", "T2I+T2V", "T2V+T2I", "T2I+[T2V]+T2I")}  # fmt: skip
    assert [name for name, kept in carried.items() if kept] == ["T2I+[T2V]+T2I"]


def test_only_clean_latents_reach_the_t2v_pool():
    assert [stage.needs for stage in path(load_recipe("demo")) if stage.role == "t2v"] == [("x0",)] * 3


def test_other_compositions_are_other_paths():
    assert names(composition="identity") == ["probe", "decode", "encode"]
    assert names(composition="T2I") == ["probe", "decode", "t2i_a", "encode"]
    for name in ("T2V", "T2I+T2V", "T2V+T2I"):
        assert names(composition=name) == ["probe", "decode", "t2i_a", "t2v", "t2i_b", "encode"]
    assert names(composition="VAE") == ["probe", "decode", "t2i_a", "encode"]
    assert names(t2v={"switch_at": (8, 4)}) == [
        "probe", "decode", "t2i_a", "t2v_a", "t2i_b", "t2v_b", "t2i_c", "encode",
    ]  # fmt: skip
