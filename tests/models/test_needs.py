"""What models a recipe needs, and how large they are."""

from pathlib import Path

from evs_batch.driver.models import check_models
from evs_batch.models.needs import weights_bytes
from evs_batch.spec.recipe import load_recipe


def test_bytes_of_weights_are_counted_once_for_each_run(tmp_path: Path):
    recipe = load_recipe("demo", ["composition=T2I", f"t2i.model={tmp_path}"])
    for size in (1000, 5000):
        (tmp_path / "unet.safetensors").write_bytes(bytes(size))
        check_models(recipe, None)
        assert weights_bytes(recipe) == size
        (tmp_path / "unet.safetensors").write_bytes(bytes(2))
        assert weights_bytes(recipe) == size, "the pool of a run stays as it is"
