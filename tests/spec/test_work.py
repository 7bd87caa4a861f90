from evs_batch.spec.recipe import load_recipe, parse_recipe
from evs_batch.spec.work import path


def names(**tree) -> list[str]:
    return [stage.name for stage in path(parse_recipe(tree))]


def test_the_t2i_pool_is_visited_twice_around_the_block():
    stages = path(load_recipe("demo", ["t2v.switch_at=[3]"]))
    assert [stage.name for stage in stages] == ["probe", "decode", "t2i_a", "t2v", "t2i_b", "encode", "join"]
    assert [stage.role for stage in stages] == ["media", "media", "t2i", "t2v", "t2i", "media", "media"]


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
    assert [stage.needs for stage in path(load_recipe("demo")) if stage.role == "t2v"] == [("x0", "cuts")] * 3


def test_other_compositions_are_other_paths():
    assert names(composition="identity") == ["probe", "decode", "encode", "join"]
    assert names(composition="T2I") == ["probe", "decode", "t2i_a", "encode", "join"]
    for name in ("T2V", "T2I+T2V", "T2V+T2I"):
        assert names(composition=name) == ["probe", "decode", "t2i_a", "t2v", "t2i_b", "encode", "join"]
    assert names(composition="VAE") == ["probe", "decode", "t2i_a", "encode", "join"]
    assert names(t2v={"switch_at": (8, 4)}) == [
        "probe", "decode", "t2i_a", "t2v_a", "t2i_b", "t2v_b", "t2i_c", "encode", "join",
    ]  # fmt: skip


def test_a_block_after_every_step_has_a_name_of_its_own():
    stages = names(t2v={"switch_at": "every", "block_steps": 1}, t2i={"steps": 50, "strength": 0.6})
    assert len(set(stages)) == len(stages) == 4 + 30 + 29
    assert stages[-3] == "t2i_ad"
    assert "t2v_z" in stages


def test_the_neighbouring_convention_counts_the_step_before_the_block():
    for at, counts in ([8], "remaining"), ([9], "current"):
        assert parse_recipe({"t2v": {"switch_at": at, "switch_counts": counts}}).switches == (8,)


def test_a_mixed_start_brings_the_noise_of_t2i_to_the_t2v_pool():
    stages = path(parse_recipe({"composition": "T2I+T2V", "t2v": {"entry": "mixed"}}))
    assert [(s.name, s.needs, s.gives) for s in stages if s.role in ("t2i", "t2v")] == [
        ("t2i_a", ("frames",), ("x0", "eps")), ("t2v", ("x0", "eps", "cuts"), ("x0",)), ("t2i_b", ("x0",), ("frames",)),
    ]  # fmt: skip
