"""`evs-batch plan`: what would run, and what it would take."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evs_batch.cli.job import MANIFEST, recipe_of
from evs_batch.spec.units import amount, duration

if TYPE_CHECKING:
    from evs_batch.planning import Plan

EXIT_NOT_FEASIBLE = 1


def plan(
    manifest: str = MANIFEST,
    recipe: str | None = typer.Option(None, "--recipe", "-r", help="A ready recipe or a TOML file."),
    overrides: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Change a key of the recipe."),
    limit: int | None = typer.Option(None, min=1, help="Plan for the first N rows only."),
    address: str | None = typer.Option(None, help="Plan for this Ray cluster; default: RAY_ADDRESS, or this machine."),
    gpus: int | None = typer.Option(None, min=1, help="Plan for so many GPUs that are not here."),
    cpus_per_gpu: int = typer.Option(8, min=1, help="Cores beside each of these GPUs."),
    t2i_workers: int | None = typer.Option(None, min=1, help="Size of the T2I pool; default: automatic."),
    t2v_workers: int | None = typer.Option(None, min=1, help="Size of the T2V pool; default: automatic."),
    costs: str = typer.Option(
        "run", metavar="run|FILE|DEVICE", help="What a frame costs: by a short run, a file of --json, or as measured."
    ),
    rows: int = typer.Option(4, min=1, help="Rows of the short run: the shortest of the videos that are looked at."),
    videos: int = typer.Option(64, min=1, help="How many videos are looked at, evenly spread."),
    scratch: str | None = typer.Option(None, help="Folder for the short run, where all nodes of a cluster reach it."),
    output: str | None = typer.Option(None, "--output", "-o", help="See whether the results have room there."),
    json_file: Path | None = typer.Option(
        None, "--json", help="Write the plan to this file, or to stdout if -; it serves as --costs."
    ),
) -> None:
    """Tell what a run would do, on what, how long it would take and what it needs; nothing is written to its output.

    Without --gpus a few rows are run first, to see what a frame costs here. Exit code 1: it would not go well.

    Examples:

        evs-batch plan videos.parquet --recipe demo

        evs-batch plan videos.parquet --recipe enhance --gpus 64 --costs H200

        evs-batch plan videos.parquet --recipe demo --json one.json; evs-batch plan all.parquet --recipe demo
        --gpus 16 --costs one.json
    """
    from evs_batch import driver, planning
    from evs_batch.cli.figures import for_people, writable, write_json
    from evs_batch.store.recipes import load_recipe

    writable(json_file)
    run = driver.Options(limit=limit, address=address, t2i_workers=t2i_workers, t2v_workers=t2v_workers)
    asked = planning.Asked(
        run=run, gpus=gpus, cpus_per_gpu=cpus_per_gpu, costs=costs, rows=rows, videos=videos, scratch=scratch,
        output=output,
    )  # fmt: skip
    made = planning.plan(manifest, load_recipe(recipe or recipe_of(manifest), overrides), asked)
    _print(made, for_people(json_file, width=None, soft_wrap=True))
    if json_file:
        write_json(made.as_dict(), json_file)
    if made.why_not:
        sys.exit(EXIT_NOT_FEASIBLE)


def _print(plan: "Plan", out: Console) -> None:
    grid = Table.grid(padding=(0, 2))
    for name, text in _lines(plan):
        grid.add_row(name, Text(text))
    out.print(grid)
    if plan.forecast:
        out.print(_stages(plan))
    for reason in plan.why_not:
        out.print(f"not feasible: {reason}", markup=False)
    if not plan.why_not:
        out.print("feasible")


def _lines(plan: "Plan") -> list[tuple[str, str]]:
    from evs_batch.display import POOLS

    survey, told, placement = plan.survey, plan.forecast, plan.placement
    every = "all videos" if survey.whole else f"{survey.looked} videos"
    lines = [("rows", f"{survey.rows}, of which {survey.readable} can be enhanced ({every} looked at)")]
    lines += [("", f"{count} {what}") for what, count in survey.problems.most_common(5)]
    lines += [("video", f"{plan.frames} frames, {duration(plan.video_s)}")]
    workers = told.workers if told else {name: pool.size for name, pool in placement.pools.items()}
    pools = ", ".join(f"{workers[name]} {name}" for name in placement.pools)
    lines += [("workers", f"{pools}; on {plan.nodes} {'node' if plan.nodes == 1 else 'nodes'}, {placement.device}")]
    if told and plan.costs and plan.device_hours is not None:
        lines += [
            ("time", f"{duration(told.seconds)}; bottleneck: {POOLS[told.bottleneck]}"),
            (f"{placement.device} hours", f"{plan.device_hours:.3g}"),
            ("in flight", f"{amount(told.in_flight_bytes)} of {amount(placement.budget_bytes)} in the object stores"),
            ("results", amount(plan.output_bytes) if plan.output_bytes else "size not known without a short run"),
        ]
        lines += [("worker", f"{amount(plan.costs.worker_bytes)} of memory")] if plan.costs.worker_bytes else []
        lines += [("costs from", plan.costs.of)]
    return lines


def _stages(plan: "Plan") -> Table:
    assert plan.forecast, "there are stages where there are costs"
    table = Table("stage", box=box.SIMPLE)
    for name in ("ms a frame", "all of them", "share"):
        table.add_column(name, justify="right")
    total_s = sum(plan.forecast.stage_s.values()) or 1.0
    for name, seconds in plan.forecast.stage_s.items():
        if seconds:
            each = f"{1000 * seconds / max(1, plan.frames):.2f}"
            table.add_row(name, each, duration(seconds), f"{100 * seconds / total_s:.0f}%")
    return table
