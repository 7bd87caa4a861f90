from pathlib import Path

import pytest

from evs_batch.bench import styles
from evs_batch.spec.recipe import load_recipe
from evs_batch.tiny.clips import VALIDATION_SEEDS


def test_every_point_is_t2v_alone_and_the_papers_two_are_among_them():
    points = styles.recipes("demo", ["seed=3"])
    assert {recipe.composition for recipe in points.values()} == {"T2V"}
    assert {recipe.seed for recipe in points.values()} == {3}
    assert points.keys() > styles.PAPERS_CHOICE
    for (method, _), recipe in points.items():
        assert recipe.sfi.enabled == (recipe.t2v.entry == "ddim") == (method != "SDEdit")
    assert points["DDIM + SFI, shallow", "gamma 0.5"].sfi.gamma == 0.5
    assert points["DDIM + SFI, shallow", "gamma 0.5"].sfi.layers == "shallow"
    assert points["SDEdit", "strength 0.3"].t2v.strength == 0.3


@pytest.mark.slow
def test_more_noise_leaves_less_of_the_styled_clip(tmp_path: Path):
    points = styles.recipes("demo", ["t2v.steps=20"])
    few = {point: points[point] for point in (("SDEdit", "strength 0.1"), ("SDEdit", "strength 0.6"))}
    rows, before = styles.measure(few, load_recipe("demo", ["composition='T2I'"]), VALIDATION_SEEDS[:1])
    weak, strong = rows
    assert weak["psnr_db"] > strong["psnr_db"] + 1
    assert before > 0
    assert weak["psnr_db_interval"][0] <= weak["psnr_db"] <= weak["psnr_db_interval"][1]
    styles.draw(rows, before, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
