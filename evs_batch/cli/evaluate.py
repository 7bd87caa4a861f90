"""`evs-batch evaluate`."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from evs_batch.cli.figures import for_people, write_figures
from evs_batch.cli.job import EXIT_TOO_MANY_FAILED

if TYPE_CHECKING:
    from evs_batch.quality.job import Evaluation
    from evs_batch.quality.summary import Line

PLAIN_WIDTH = 100  # characters, where there is no terminal


def evaluate(
    output: str = typer.Argument(metavar="OUTPUT", help="Output folder of a run."),
    reference: str | None = typer.Option(None, metavar="COLUMN", help="Manifest column with URIs of clean videos."),
    features: Path | None = typer.Option(
        None, metavar="FOLDER", help="A vision model of transformers, for subject_consistency."
    ),
    weights: Path | None = typer.Option(None, metavar="FOLDER", help="Weights of the learned metrics."),
    workers: int = typer.Option(os.cpu_count() or 1, min=1, help="Processes; each holds three videos in memory."),
    max_failed_fraction: float = typer.Option(0.1, min=0, max=1, help="More failed rows than this: exit code 3."),
    json_file: Path | None = typer.Option(None, "--json", help="Write the summary to this file, or to stdout if -."),
) -> None:
    """Measure the quality of a run's videos and of their sources; the same command again measures what is new.

    Example:

        evs-batch evaluate out/videos --reference clean --json quality.json
    """
    from dataclasses import asdict

    from evs_batch.driver.signals import StopSignals
    from evs_batch.quality import job
    from evs_batch.quality.choice import choose

    with StopSignals() as signals:
        choice = choose(reference, features, weights)
        ended = job.evaluate(output, choice, workers, stop_asked=lambda: signals.received is not None)
    out = for_people(json_file)
    _print(ended, out if out.is_terminal else for_people(json_file, width=PLAIN_WIDTH))
    if json_file:
        write_figures("evaluate", [asdict(line) for line in ended.lines], json_file)
    if signals.received:
        sys.exit(128 + signals.received)
    if ended.failed_fraction > max_failed_fraction:
        sys.exit(EXIT_TOO_MANY_FAILED)


def _print(ended: "Evaluation", out: Console) -> None:
    said = Console(stderr=True, highlight=False, soft_wrap=True)
    skipped = f", {ended.skipped} of them earlier" if ended.skipped else ""
    said.print(f"{ended.rows} rows measured{skipped}, {ended.failed} with errors")
    if ended.example:
        said.print(f"for example {ended.example}", markup=False)
    table = Table("metric", box=box.SIMPLE)
    for name in ("source", "result", "difference", "95% interval", "rows"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in ended.lines:
        table.add_row(*_cells(line))
    out.print(table)
    out.print(f"metrics   {ended.uri}", markup=False, soft_wrap=True)


def _cells(line: "Line") -> list[str]:
    interval = "" if line.low is None else f"{line.low:+.3g} to {line.high:+.3g}"
    difference = "" if line.difference is None else f"{line.difference:+.3g}"
    source = "" if line.source is None else f"{line.source:.4g}"
    return [line.metric, source, f"{line.result:.4g}", difference, interval, str(line.rows)]
