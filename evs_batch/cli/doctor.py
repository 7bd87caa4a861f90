"""`evs-batch doctor`: what a run would miss here."""

import json
import sys
from dataclasses import asdict

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLES = {"ok": "green", "note": "yellow", "bad": "bold red"}
WIDE = 200  # columns where no terminal says how many


def doctor(
    uris: list[str] = typer.Argument(None, metavar="[URI…]", help="Sources that should be readable from here."),
    recipe: str | None = typer.Option(None, "--recipe", "-r", help="Look for the models of this recipe."),
    overrides: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Change a key of the recipe."),
    output: str | None = typer.Option(None, "--output", "-o", help="See whether results can be written there."),
    address: str | None = typer.Option(None, help="Look at this Ray cluster; default: RAY_ADDRESS, if it is set."),
    as_json: bool = typer.Option(False, "--json", help="Print findings as JSON, an object a line."),
) -> None:
    """Look at GPUs, torch, Ray, memory, disk, ffmpeg, models and storages: what is wrong and how to mend it.

    Exit code 1: something is bad.

    Examples:

        evs-batch doctor

        evs-batch doctor --recipe enhance --output s3://bucket/out s3://bucket/videos
    """
    from evs_batch import doctor as checks
    from evs_batch.store.recipes import load_recipe

    loaded = load_recipe(recipe, overrides) if recipe else None
    asked = checks.Asked(recipe=loaded, address=address, uris=tuple(uris or ()), output=output)
    findings = list(checks.examine(asked))
    if as_json:
        for finding in findings:
            typer.echo(json.dumps(asdict(finding), ensure_ascii=False))
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        for _ in range(4):
            table.add_column(overflow="fold")
        for finding in findings:
            state = Text(finding.state.upper(), style=STYLES[finding.state])
            table.add_row(state, Text(finding.what), Text(finding.found), Text(finding.mend))
        Console(highlight=False, width=None if sys.stdout.isatty() else WIDE).print(table)
    if any(finding.state == "bad" for finding in findings):
        sys.exit(1)
