"""SDEdit against DDIM inversion with injected features on styled clips (Figure 8 at home), and its picture."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from evs_batch.bench.domain import sample
from evs_batch.bench.quality import interval, picks
from evs_batch.evaluate import motion_error, psnr
from evs_batch.spec.recipe import Recipe
from evs_batch.stages.inline import load_enhancer
from evs_batch.store.recipes import load_recipe

LORA, STYLE = "tiny-watercolor", ", watercolor"
STYLED = ("composition='T2I'", f"t2i.loras=['{LORA}']", "t2i.strength=0.4")
SDEDIT = {
    f"strength {strength}": ("composition='T2V'", "t2v.entry='random'", f"t2v.strength={strength}")
    for strength in (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
}
INVERTED = {
    layers: {
        f"gamma {gamma}": (
            "composition='T2V'", "t2v.entry='ddim'", "t2v.strength=0.4",
            "sfi.enabled=true", f"sfi.layers='{layers}'", f"sfi.gamma={gamma}",
        )
        for gamma in (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
    }
    for layers in ("deep", "shallow")
}  # fmt: skip
METHODS = {"SDEdit": SDEDIT, **{f"DDIM + SFI, {layers}": settings for layers, settings in INVERTED.items()}}
PAPERS_CHOICE = {("DDIM + SFI, deep", "gamma 0.8"), ("DDIM + SFI, shallow", "gamma 0.5")}


def recipes(recipe: str, overrides: Sequence[str]) -> dict[tuple[str, str], Recipe]:
    """Every point of every curve: T2V alone, with what the recipe says of it otherwise."""
    return {
        (method, setting): load_recipe(recipe, [*overrides, *changes])
        for method, settings in METHODS.items()
        for setting, changes in settings.items()
    }


def measure(
    points: Mapping[tuple[str, str], Recipe], painter: Recipe, seeds: Sequence[int]
) -> tuple[list[dict[str, Any]], float]:
    """A row for each point: how near it stays to the styled clip, how well it follows the known motion.

    `painter` styles the clips, frame by frame. Gives the rows, and the motion error of the styled clips.
    """
    paint, refine = load_enhancer(painter), {point: load_enhancer(recipe) for point, recipe in points.items()}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {point: [] for point in points}
    before = []
    for s in map(sample, seeds):
        asked = replace(s.clip, prompt=s.clip.prompt + STYLE)
        (styled,) = paint([s.degraded], [asked])
        before.append(motion_error(styled, *s.motion))
        for point, enhancer in refine.items():
            (made,) = enhancer([styled], [s.clip])
            found[point].append((psnr(made, styled), motion_error(made, *s.motion)))
    return [_row(*point, np.array(values)) for point, values in found.items()], float(np.mean(before))


def draw(rows: Sequence[Mapping[str, Any]], styled: float, picture: Path) -> None:
    """PSNR to the styled clip against motion error, one line for each method; injection once more from near by."""
    from matplotlib.figure import Figure  # noqa: PLC0415 (optional)

    figure = Figure(figsize=(9, 4), layout="constrained")
    everything, injected = figure.subplots(1, 2, width_ratios=(3, 2))
    _curves(everything, rows, labelled="SDEdit")
    _curves(injected, [row for row in rows if row["method"] != "SDEdit"], labelled="DDIM")
    everything.axhline(styled, linestyle=":", color="gray", label="styled clip, before T2V")
    everything.set(xlabel="PSNR to the styled clip, dB", ylabel="motion error (up is smoother)")
    everything.legend(fontsize=8)
    injected.set(xlabel="PSNR to the styled clip, dB")
    figure.savefig(picture, dpi=110)


def _curves(axes: Any, rows: Sequence[Mapping[str, Any]], labelled: str) -> None:
    """One line for each method, the paper's two points ringed; settings stand at the points of some methods."""
    for method, points in groupby(rows, key=lambda row: row["method"]):
        line = list(points)
        colour = f"C{list(METHODS).index(method)}"
        axes.plot([r["psnr_db"] for r in line], [r["motion_error"] for r in line], colour, marker="o", label=method)
        for row in line:
            at = row["psnr_db"], row["motion_error"]
            if method.startswith(labelled):
                axes.annotate(row["setting"].split()[1], at, textcoords="offset points", xytext=(5, 4), fontsize=7)
            if (method, row["setting"]) in PAPERS_CHOICE:
                axes.plot(*at, marker="o", markersize=13, fillstyle="none", color="black")
    axes.invert_yaxis()
    axes.grid(alpha=0.3)


def _row(method: str, setting: str, values_N2: np.ndarray) -> dict[str, Any]:
    means_R2 = values_N2[picks(len(values_N2))].mean(1)
    row: dict[str, Any] = {"method": method, "setting": setting}
    for at, name in enumerate(("psnr_db", "motion_error")):
        row[name] = round(float(means_R2[0, at]), 4)
        row[f"{name}_interval"] = interval(means_R2[:, at])
    return row
