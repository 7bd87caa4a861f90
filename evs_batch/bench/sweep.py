"""One recipe key varied (Figure 7 at home), and its picture."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evs_batch.spec.errors import RecipeError
from evs_batch.spec.recipe import Recipe
from evs_batch.store.recipes import load_recipe

SHOWN = ("imaging", "consistency", "overall")


def varied(recipe: str, overrides: Sequence[str], assignment: str) -> dict[str, Recipe]:
    """`key=[value, …]` to one recipe for each value, by `key=value`; raises RecipeError for anything else."""
    key, _, text = assignment.partition("=")
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise RecipeError(f"--vary {assignment}", "must be key=[value, …]", "--vary t2v.strength=[0.2,0.4]") from error
    if not isinstance(values, list) or not values:
        raise RecipeError(f"--vary {assignment}", "must list values", "for example --vary t2v.strength=[0.2,0.4]")
    settings = [f"{key}={json.dumps(value)}" for value in values]
    return {setting: load_recipe(recipe, [*overrides, setting]) for setting in settings}


def draw(rows: Sequence[Mapping[str, Any]], key: str, picture: Path) -> None:
    """Imaging, consistency and overall over the values, with their bootstrap intervals."""
    from matplotlib.figure import Figure  # noqa: PLC0415 (optional)

    shown = [row for row in rows if "=" in row["setting"]]
    labels = [row["setting"].partition("=")[2] for row in shown]
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for name in SHOWN:
        middle = [row[name] for row in shown]
        spread = [[abs(row[name] - row[f"{name}_interval"][side]) for row in shown] for side in (0, 1)]
        axes.errorbar(labels, middle, yerr=spread, marker="o", capsize=3, label=name)
    axes.set(xlabel=key, ylabel="0: source, 1: clean through VAE")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=110)
