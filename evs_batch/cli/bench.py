"""`evs-batch bench`: the measurements that the README quotes."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from evs_batch.cli.figures import show
from evs_batch.spec.errors import RunError, nearest

app = typer.Typer(no_args_is_help=True)

RECIPE = typer.Option("demo", "--recipe", "-r")
OVERRIDES = typer.Option([], "--set", metavar="KEY=VALUE")
CLIPS = typer.Option(64, min=2, help="How many clips.")
VALIDATION = typer.Option(False, "--validation", help="Clips for choosing settings instead of the held-out ones.")
PICTURE = typer.Option(None, help="Draw the curves into this file (needs matplotlib).")
JSON = typer.Option(None, "--json", help="Write the figures to this file, or to stdout if -.")


@app.callback()
def bench() -> None:
    """The measurements that the documentation quotes; each prints its table and the figures of its baselines.

    Example:

        evs-batch bench compositions --clips 16
    """


@app.command()
def compositions(
    recipe: str = RECIPE,
    overrides: list[str] = OVERRIDES,
    clips: int = CLIPS,
    validation: bool = VALIDATION,
    json_file: Path | None = JSON,
) -> None:
    """T2I, T2V and all ways to compose them, as in the paper's Table 2: quality, evaluations, seconds.

    Example:

        evs-batch bench compositions --clips 16
    """
    from evs_batch.bench import compositions as paper
    from evs_batch.store.recipes import load_recipe

    rows, resampled = _quality("composition", paper.compositions(load_recipe(recipe, overrides)), clips, validation)
    show("compositions", rows, json_file)
    for statement, holds in paper.verdicts(rows, resampled).items():
        typer.echo(f"{'yes' if holds else 'NO '}  {statement}")


@app.command()
def sweep(
    vary: str = typer.Option(..., metavar="KEY=[VALUE, …]", help="The recipe key and its values."),
    recipe: str = RECIPE,
    overrides: list[str] = OVERRIDES,
    clips: int = CLIPS,
    validation: bool = VALIDATION,
    picture: Path | None = PICTURE,
    json_file: Path | None = JSON,
) -> None:
    """One recipe key varied, as in the paper's Figure 7: quality, evaluations, seconds.

    Example:

        evs-batch bench sweep --vary 't2v.strength=[0.1, 0.2, 0.4]'
    """
    from evs_batch.bench import sweep as figure

    rows, _ = _quality("setting", figure.varied(recipe, overrides, vary), clips, validation)
    show("sweep", rows, json_file)
    if picture:
        figure.draw(rows, vary.partition("=")[0], picture)


@app.command()
def styles(
    recipe: str = RECIPE,
    overrides: list[str] = OVERRIDES,
    clips: int = CLIPS,
    validation: bool = VALIDATION,
    picture: Path | None = PICTURE,
    json_file: Path | None = JSON,
) -> None:
    """T2V on styled clips, by fresh noise or by inversion and injected features, as in the paper's Figure 8.

    Example:

        evs-batch bench styles --clips 12
    """
    from evs_batch.bench import styles as figure
    from evs_batch.store.recipes import load_recipe

    painter = load_recipe(recipe, [*overrides, *figure.STYLED])
    rows, styled = figure.measure(figure.recipes(recipe, overrides), painter, _seeds(clips, validation))
    typer.echo(f"motion error of the styled clips: {styled:.4f}")
    show("styles", rows, json_file)
    if picture:
        figure.draw(rows, styled, picture)


@app.command()
def seams(
    recipe: str = RECIPE,
    overrides: list[str] = OVERRIDES,
    clips: int = typer.Option(4, min=1, help="How many clips."),
    validation: bool = VALIDATION,
    json_file: Path | None = JSON,
) -> None:
    """Long clips in segments: how much frames differ across their borders, against the inside and the whole clip.

    Example:

        evs-batch bench seams --clips 8
    """
    from evs_batch.bench import seams as measured

    show("seams", measured.measure(recipe, overrides, _seeds(clips, validation)), json_file)


@app.command()
def schedule(
    workers: list[int] = typer.Option([], "--workers", min=1, help="How many; several times for several counts."),
    json_file: Path | None = JSON,
) -> None:
    """The scheduler on simulated workers against data-parallel and a static split: achieved / ideal.

    Example:

        evs-batch bench schedule --json schedule.json
    """
    from evs_batch.bench import schedule as simulated

    rows = [row for count in workers or simulated.WORKERS for row in simulated.measure(count)]
    show("schedule", rows, json_file)


@app.command()
def peers(
    clips: int = typer.Option(256, min=8, help="How many clips."),
    workers: int = typer.Option(8, min=2, help="How many workers, each with a GPU that does not exist."),
    repeats: int = typer.Option(3, min=1, help="Runs of each system without faults, interleaved."),
    systems: list[str] = typer.Option([], "--system", help="One of the systems; default: all that are installed."),
    scenarios: list[str] = typer.Option([], "--scenario", help="One of the faults, or none; default: all."),
    json_file: Path | None = JSON,
) -> None:
    """evs-batch against other ways to run the same stages on Ray actors, with kernels that sleep and with faults.

    Example:

        evs-batch bench peers --clips 256 --workers 8
    """
    from evs_batch.bench.peers import compare

    check_choice("--system", systems, compare.SYSTEMS)
    chosen = check_choice("--scenario", scenarios, compare.SCENARIOS) or compare.SCENARIOS
    rows = compare.compare(clips, workers, repeats, systems or compare.installed(), chosen)
    show("peers", list(rows), json_file)


@app.command()
def device(
    folder: Path = typer.Option(..., help="For the weights, 4 GB at full size, which the next run finds there."),
    size: str = typer.Option("full", help="full, or small: a few channels, to try the command."),
    jobs: list[str] = typer.Option([], "--job", help="VC2 (16 frames of 640x1024) or AD2 (1024x1024); default: both."),
    compositions: list[str] = typer.Option([], "--composition", help="One of the four; default: all."),
    settings: list[str] = typer.Option([], "--setting", help="One of those of the table; default: all."),
    repeats: int = typer.Option(3, min=1, help="Runs of each way, interleaved, after one that warms up."),
    overrides: list[str] = OVERRIDES,
    json_file: Path | None = JSON,
) -> None:
    """The paper's jobs on this machine's GPU, with random weights at full size, against a plain diffusers script.

    Example:

        evs-batch bench device --folder weights/ --job VC2 --json device.json
    """
    from evs_batch.bench.device import jobs as papers

    check_choice("--size", [size], papers.weights.SHAPES)
    chosen = {job: papers.JOBS[job] for job in check_choice("--job", jobs, papers.JOBS) or papers.JOBS}
    wanted = check_choice("--composition", compositions, papers.COMPOSITIONS) or papers.COMPOSITIONS
    names = check_choice("--setting", settings, papers.settings_in(folder))
    rows = []
    try:
        for row in papers.compare(folder, size, chosen, wanted, names, repeats=repeats, changes=overrides):
            rows.append(row)
    finally:  # also what was measured before a job that does not fit
        if rows:
            show("device", rows, json_file)


@app.command()
def cpu(
    recipe: str = RECIPE,
    overrides: list[str] = OVERRIDES,
    clips: int = typer.Option(16, min=2, help="How many clips of the tiny family's domain."),
    repeats: int = typer.Option(3, min=1, help="Runs of each way, interleaved, after one that warms up."),
    cores: int = typer.Option(os.cpu_count() or 1, min=1, help="How many cores each way may use."),
    json_file: Path | None = JSON,
) -> None:
    """The tiny family on this machine's cores, as a job runs it, against a plain diffusers script in fp32.

    Example:

        evs-batch bench cpu --json cpu.json
    """
    from evs_batch.bench import cpu as cores_of

    rows = list(cores_of.compare(clips, repeats, recipe, overrides, cores))
    show("cpu", rows, json_file, speedup=max(row["speedup"] for row in rows))


@app.command()
def start(
    folder: Path | None = typer.Option(None, help="Weights of `bench device` instead of the tiny family's."),
    repeats: int = typer.Option(5, min=1, help="Processes of each kind, interleaved, after one."),
    json_file: Path | None = JSON,
) -> None:
    """How long `--help` takes, and a worker until its first call, against a plain script that loads the same.

    Example:

        evs-batch bench start --repeats 3
    """
    from evs_batch.bench import start as started

    show("start", list(started.compare(folder, repeats)), json_file)


@app.command()
def levers(
    recipe: str = RECIPE,
    overrides: list[str] = OVERRIDES,
    decoder: str = typer.Option("tiny-decoder", help="A small decoder for the recipe's models."),
    clips: int = CLIPS,
    validation: bool = VALIDATION,
    json_file: Path | None = JSON,
) -> None:
    """Settings that are faster and not the same: what each does to the quality.

    Example:

        evs-batch bench levers --set t2i.steps=50 --set t2i.strength=0.4
    """
    from evs_batch.bench import levers as faster

    rows, _ = _quality("setting", faster.recipes(recipe, overrides, decoder), clips, validation)
    show("levers", rows, json_file)


@app.command()
def media(
    height: int = typer.Option(640, min=64, help="Pixels."),
    width: int = typer.Option(1024, min=64, help="Pixels."),
    frames: int = typer.Option(48, min=2, help="Of the clip."),
    repeats: int = typer.Option(5, min=1, help="Of each thing, by turns."),
    json_file: Path | None = JSON,
) -> None:
    """How fast one core decodes, encodes and verifies, and how many cores a GPU needs for it.

    Example:

        evs-batch bench media --json media.json
    """
    from evs_batch.bench import media

    show("media", media.compare(height, width, frames, repeats), json_file)


def _quality(label: str, recipes: Any, clips: int, validation: bool) -> tuple[list[dict[str, Any]], Any]:
    from evs_batch.bench import quality

    scores = quality.run(recipes, _seeds(clips, validation))
    resampled = quality.resample(scores)
    return quality.table(label, recipes, scores, resampled), resampled


def _seeds(clips: int, validation: bool) -> range:
    from evs_batch.tiny.clips import HELD_OUT_SEEDS, VALIDATION_SEEDS

    return (VALIDATION_SEEDS if validation else HELD_OUT_SEEDS)[:clips]


def check_choice(option: str, values: Sequence[str], known: Iterable[str]) -> Sequence[Any]:
    """The values as they are; raises RunError for one that is not known."""
    for value in values:
        if value not in known:
            raise RunError(f"{option} {value}", f"must be one of {', '.join(known)}", nearest(value, known))
    return values
