"""`evs-batch bench`: the measurements that the README quotes."""

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="The measurements that the README quotes.")

JSON = typer.Option(None, "--json", help="Write the figures to this file.")


@app.callback()
def bench() -> None:
    """Measurements; each prints its table and the figures of its baselines."""


@app.command()
def tiny(
    recipe: str = typer.Option("demo", "--recipe", "-r"),
    overrides: list[str] = typer.Option([], "--set", metavar="KEY=VALUE"),
    clips: int = typer.Option(20, min=1, help="How many clips."),
    validation: bool = typer.Option(False, help="Clips for choosing settings instead of the held-out ones."),
    json_file: Path | None = JSON,
) -> None:
    """Quality of the tiny family on clips that it never saw: input, VAE only, T2I, EVS."""
    from evs_batch.bench import tiny as measurement
    from evs_batch.spec.recipe import load_recipe
    from evs_batch.tiny.clips import HELD_OUT_SEEDS, VALIDATION_SEEDS

    seeds = (VALIDATION_SEEDS if validation else HELD_OUT_SEEDS)[:clips]
    _show("tiny", measurement.measure(load_recipe(recipe, overrides), seeds), json_file)


def _show(name: str, rows: list[dict[str, Any]], json_file: Path | None) -> None:
    """Print rows as a table; write them with machine and date."""
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*[f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()])
    Console(highlight=False).print(table)
    if json_file:
        machine = f"{platform.machine()} {platform.system()}"
        date = datetime.now(UTC).isoformat(timespec="seconds")
        json_file.write_text(json.dumps({"bench": name, "machine": machine, "date": date, "rows": rows}, indent=1))
