"""`evs-batch manifest` and `validate`: make manifests, and see whether they are good."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from evs_batch.cli.figures import STDOUT
from evs_batch.cli.job import MANIFEST
from evs_batch.spec.errors import ManifestError

if TYPE_CHECKING:
    from evs_batch.store.mending import Fault

app = typer.Typer(no_args_is_help=True)
ROWS_AT_ONCE = 200  # of a table, whose columns are as wide as these rows need


@app.callback()
def manifest() -> None:
    """Make manifests: tables of videos and prompts.

    Example:

        evs-batch manifest create clips/ -o videos.parquet
    """


@app.command()
def create(
    sources: list[str] = typer.Argument(
        metavar="SOURCE…",
        help="Folders, globs or single videos; CSV, JSONL or Parquet files; a JSON config of the EVS release.",
    ),
    output: str = typer.Option(
        ..., "--output", "-o", metavar="F.parquet", help="The manifest to write, also far away."
    ),
    prompt: str | None = typer.Option(
        None, metavar="TEXT", help="For rows without a prompt: a text with {stem}, {words}, {folder} or columns."
    ),
    prompts: str | None = typer.Option(
        None, metavar="LIST", help="Prompts that videos are named after, as VBench's: a text or JSON file."
    ),
    uri_column: str | None = typer.Option(None, metavar="NAME", help="The column of a table that holds URIs."),
    prompt_column: str | None = typer.Option(None, metavar="NAME", help="The column of a table that holds prompts."),
) -> None:
    """Write a Parquet manifest with absolute URIs; for a config of the release, print the recipe that it means.

    A prompt is a table's own, else that of the text file beside a video (a.txt for a.mp4), of --prompts, or --prompt.

    Examples:

        evs-batch manifest create clips/ -o videos.parquet

        evs-batch manifest create 's3://bucket/**/*.mp4' --prompt 'a video of {words}' -o videos.parquet

        evs-batch manifest create table.csv --uri-column path --prompt-column title -o videos.parquet

        evs-batch manifest create sampled_videos/ --prompts all_dimension.txt -o vbench.parquet
    """
    from evs_batch.spec import release, toml
    from evs_batch.store import making
    from evs_batch.store import prompts as known
    from evs_batch.store.recipes import load_recipe

    _check_target(output, *sources)
    finds = [known.of_list(prompts)] if prompts else []
    finds += [known.template(prompt)] if prompt else []
    how = making.Making(uri_column=uri_column, prompt_column=prompt_column, finds=finds)
    rows = making.create(sources, how, output)
    typer.echo(f"{rows} rows in {output}", err=True)
    for source in filter(release.is_release, sources):
        typer.echo(toml.dump(load_recipe(source).model_dump(mode="json")), nl=False)


def validate(
    manifest: str = MANIFEST,
    fix: str | None = typer.Option(
        None, metavar="F.parquet", help="Write a copy without the bad rows, or without their bad optional cells."
    ),
    json_file: Path | None = typer.Option(
        None, "--json", help="Write the faults to this file, or to stdout if -, a JSON object a line."
    ),
    videos: int = typer.Option(
        0, min=0, help="Look at so many of the videos, too, evenly spread, as the default recipe does."
    ),
) -> None:
    """Print every bad row of a manifest: its number (from 0), value, rule and fix. Exit code 2: there are some.

    Examples:

        evs-batch validate videos.csv

        evs-batch validate videos.csv --videos 100

        evs-batch validate videos.csv --fix clean.parquet
    """
    from evs_batch.cli.figures import for_people, writable
    from evs_batch.store.mending import Check

    writable(json_file, manifest)
    if fix:
        _check_target(fix, manifest)
    check = Check(manifest, fix)
    faults = iter(check) if json_file is None else _written(check, json_file)
    out = for_people(json_file)
    while some := list(islice(faults, ROWS_AT_ONCE)):
        out.print(_table(some, fixed=fix is not None))
    typer.echo(f"{check.rows - check.faults} of {check.rows} rows are good", err=True)
    for column, known in check.unused:
        typer.echo(f"column '{column}' is not used: did you mean '{known}'?", err=True)
    if fix:
        typer.echo(f"the copy without faults: {fix}", err=True)
    unreadable = _look_at(manifest, videos) if videos else 0
    if unreadable or (check.faults and not fix):
        sys.exit(2)


def _look_at(manifest: str, videos: int) -> int:
    """Say which videos cannot be enhanced; gives how many."""
    from evs_batch.planning.survey import look
    from evs_batch.spec.recipe import Recipe
    from evs_batch.store import reading

    found = look(reading.open_manifest(manifest, 0), Recipe(), None, videos)
    bad = found.looked - len(found.found)
    for problem, count in found.of_videos.items():
        typer.echo(f"{count} of {found.looked} videos: {problem}", err=True)
    typer.echo(f"{found.looked - bad} of {found.looked} videos that were looked at can be enhanced", err=True)
    return bad


def _check_target(target: str, *sources: str) -> None:
    """Where a manifest goes must be called one, and be none of those that are read; raises ManifestError."""
    from evs_batch.store import reading, storage

    if not target.endswith(".parquet"):
        raise ManifestError(target, "must be the name of a Parquet file", "let it end with .parquet")
    if any(storage.same(reading.located(source), storage.absolute(target)) for source in sources):
        raise ManifestError(target, "is what is read", "name another file")


def _written(faults: "Iterable[Fault]", file: Path) -> "Iterator[Fault]":
    with nullcontext(sys.stdout) if file == STDOUT else file.open("w") as lines:
        for fault in faults:
            error = fault.error
            found = {
                "row": fault.number,
                "code": error.code,
                "value": error.value,
                "rule": error.rule,
                "fix": error.fix,
            }
            lines.write(json.dumps({**found, "mended": fault.mended}, ensure_ascii=False) + "\n")
            yield fault


def _table(faults: "list[Fault]", *, fixed: bool) -> Table:
    table = Table("row", "value", "rule", "fix", *(["in the copy"] if fixed else []), box=box.SIMPLE_HEAD)
    for fault in faults:
        error = fault.error
        cells = [str(fault.number), error.value, error.rule, error.fix, *([fault.mended] if fixed else [])]
        table.add_row(*[Text(cell) for cell in cells])
    return table
