"""`evs-batch models`: where weights come from, and what of it is here."""

import json
import sys

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(no_args_is_help=True)

NAMES = typer.Argument(metavar="NAME…", help="Names of the zoo, or hub ids; `models verify` takes paths too.")
ROLES = "t2i|t2v|decoder|lora"
ROLE = typer.Option("", metavar=ROLES, help="What a name is; default: all that the zoo knows by it, or a T2I.")
WIDE = 200  # columns where no terminal says how many


@app.callback()
def models() -> None:
    """The model zoo: list it, fetch weights, verify them.

    Examples:

        evs-batch models list

        evs-batch models fetch EP lightningEP
    """


@app.command("list")
def list_models(as_json: bool = typer.Option(False, "--json", help="Print it as JSON, an object a line.")) -> None:
    """Every name that a recipe can use, where its weights come from, and whether they are on this machine.

    Examples:

        evs-batch models list

        evs-batch models list --json | grep '"here": false'
    """
    from evs_batch.models import zoo

    if as_json:
        for role, (entries, _) in zoo.ROLES.items():
            for name, entry in entries.items():
                for place in zoo.places(entry):
                    found = {"name": name, "role": role, "weights": str(place), "gigabytes": place.gigabytes}
                    typer.echo(json.dumps({**found, "licence": place.licence, "here": place.find() is not None}))
        return
    table = Table("name", "role", "weights", "GB", "licence", "here", box=None, pad_edge=False)
    for role, (entries, _) in zoo.ROLES.items():
        for name, entry in entries.items():
            for number, place in enumerate(zoo.places(entry)):
                first = (name, role) if number == 0 else ("", "")
                size = f"{place.gigabytes:.3g}" if place.gigabytes else ""
                table.add_row(*first, str(place), size, place.licence, "yes" if place.find() else "no")
    Console(width=None if sys.stdout.isatty() else WIDE, highlight=False).print(table)


@app.command()
def fetch(names: list[str] = NAMES, role: str = ROLE) -> None:
    """Download what these models need and this machine lacks; print where it is.

    Examples:

        evs-batch models fetch EP lightningEP TAESD

        evs-batch models fetch --role t2v somebody/motion-module@0123abc
    """
    from evs_batch.models import zoo

    wanted = [place for name in names for entry in zoo.named(name, role) for place in zoo.places(entry)]
    for place in dict.fromkeys(wanted):
        typer.echo(place.find() or place.fetch())


@app.command()
def verify(names: list[str] = NAMES, role: str = ROLE) -> None:
    """Load every part of these models; compare files with the checksums that the hub gave.

    Examples:

        evs-batch models verify EP lightningEP

        evs-batch models verify --role t2v motion.safetensors
    """
    from evs_batch.models import verification, zoo

    for entry in (entry for name in names for entry in zoo.named(name, role)):
        for line in verification.verify(entry):
            typer.echo(line)
