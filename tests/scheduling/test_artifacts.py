from evs_batch.scheduling.artifacts import Artifacts
from evs_batch.spec.recipe import load_recipe
from evs_batch.spec.segments import Segments
from evs_batch.spec.work import Unit, path

A, B = Unit("a"), Unit("b")


def test_artifacts_live_as_long_as_a_later_stage_reads_them():
    stages = {stage.name: stage for stage in path(load_recipe("demo", ["t2v.switch_at=[3]"]))}
    kept = Artifacts(list(stages.values()))
    for unit in (A, B):
        kept.begin(unit.clip, Segments(16), [9])
        kept.keep(stages["decode"], unit, [f"frames {unit.clip}", "cuts"])
    assert kept.inputs(stages["t2i_a"], [A, B]) == ["frames a", "frames b"]
    kept.keep(stages["t2i_a"], A, ["x a", "eps a"])
    assert kept.held("a") == {(0, "x0"), (0, "eps"), (0, "cuts")}, "decoded frames are dropped"
    assert kept.inputs(stages["t2v"], [A]) == ["x a", "cuts"]
    kept.keep(stages["t2v"], A, ["x a2"])
    assert kept.inputs(stages["t2i_b"], [A]) == ["x a2", "eps a"]
    kept.keep(stages["t2i_b"], A, ["frames a2"])
    assert kept.held("a") == {(0, "frames")}
    assert kept.inputs(stages["encode"], [A]) == ["frames a2"]


def test_artifacts_of_a_segment_live_as_long_as_its_neighbours_need_them():
    stages = {
        stage.name: stage for stage in path(load_recipe("demo", ["t2v.switch_at=[3]", "t2i.attention=first_frame"]))
    }
    kept, units = Artifacts(list(stages.values())), [Unit("a", number) for number in range(3)]
    kept.begin("a", Segments(96, 3), [9, 9, 9])
    for unit in units:
        kept.keep(stages["decode"], unit, [f"frames {unit.segment}", "cuts"])
    kept.keep(stages["t2i_a"], units[0], ["x 0", "eps 0"])
    assert (0, "frames") in kept.held("a"), "the clip's first frame is everybody's"
    for unit in units[1:]:
        kept.keep(stages["t2i_a"], unit, [f"x {unit.segment}", f"eps {unit.segment}"])
    assert (0, "frames") not in kept.held("a")
    kept.keep(stages["t2v"], units[0], ["x 0 after"])
    assert kept.inputs(stages["t2v"], units[1:2]) == ["x 0", "cuts", "x 1", "cuts", "x 2", "cuts"]
    kept.keep(stages["t2v"], units[1], ["x 1 after"])
    assert kept.inputs(stages["t2i_b"], units[1:2]) == ["x 0 after", "eps 0", "x 1 after", "eps 1"]
    assert kept.inputs(stages["t2v"], units[2:]) == ["x 1", "cuts", "x 2", "cuts"]


def test_artifacts_of_a_segment_that_is_done_are_kept_for_those_that_are_not():
    stages = {stage.name: stage for stage in path(load_recipe("demo", ["t2v.switch_at=[3]"]))}
    order, segments = list(stages.values()), Segments(96, 3)
    ends = segments.ends(order, {0, 1})
    assert [order[end].name for end in ends] == ["probe", "t2v", "join"], "the second one only lends its latents"
    kept = Artifacts(order)
    kept.begin("a", segments, ends)
    for unit in (Unit("a", 1), Unit("a", 2)):
        kept.keep(stages["decode"], unit, ["frames", "cuts"])
        kept.keep(stages["t2i_a"], unit, [f"x {unit.segment}", "eps"])
    assert kept.held("a") == {(1, "x0"), (1, "cuts"), (2, "x0"), (2, "cuts"), (2, "eps")}
    kept.keep(stages["t2v"], Unit("a", 2), ["x after"])
    assert kept.held("a") == {(2, "x0"), (2, "eps")}
