"""`evs-batch run`, `status` and `report`."""

import json
import sys
import time
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from evs_batch.driver import Summary

EXIT_TOO_MANY_FAILED = 3
ENDED = {"done", "interrupted", "aborted"}
QUIET_S = 60.0  # a driver that has not written its record for so long is gone

MANIFEST = typer.Argument(
    metavar="MANIFEST",
    help="Parquet, CSV or JSONL file, a folder of Parquet files, a JSON config of the EVS release, or `demo`.",
)


OUTPUT = typer.Argument(metavar="OUTPUT", help="Output folder of a run.")


def run(
    manifest: str = MANIFEST,
    recipe: str | None = typer.Option(
        None, "--recipe", "-r", help="A ready recipe or a TOML file; default: that of a config of the EVS release."
    ),
    output: str = typer.Option(..., "--output", "-o", help="Folder of the results. The same one again resumes."),
    overrides: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Change a key of the recipe."),
    limit: int | None = typer.Option(None, min=1, help="Do the first N rows only."),
    shard: str = typer.Option("1/1", metavar="I/N", help="Do the I-th of N parts; the others may run elsewhere."),
    address: str | None = typer.Option(None, help="Join a Ray cluster; default: RAY_ADDRESS, or a local Ray."),
    t2i_workers: int | None = typer.Option(None, min=1, help="Size of the T2I pool; default: automatic."),
    t2v_workers: int | None = typer.Option(None, min=1, help="Size of the T2V pool; default: automatic."),
    retry_failed: bool = typer.Option(False, help="Do failed rows again."),
    max_failed_fraction: float = typer.Option(
        0.1, min=0, max=1, help="More failed rows than this: exit code 3; 1: go on if all fail."
    ),
    force: bool = typer.Option(
        False, help="Go on in a folder of another recipe, manifest or version; committed rows stay as they are."
    ),
    plain: bool = typer.Option(False, help="Lines instead of the live view."),
) -> None:
    """Enhance every video of a manifest; the same command again resumes.

    Examples:

        evs-batch run videos.parquet --recipe enhance --output out/videos

        evs-batch run s3://bucket/videos.parquet -r enhance -o s3://bucket/out --address auto --shard 1/4

        EVS_RUN_ADDRESS=auto evs-batch run config.json -o out --set t2i.strength=0.3 --limit 100
    """
    from evs_batch import display, driver
    from evs_batch.spec import toml
    from evs_batch.store.recipes import load_recipe

    loaded = load_recipe(recipe or recipe_of(manifest), overrides)
    if recipe is None:
        typer.echo(toml.dump(loaded.model_dump(mode="json")), err=True)
    options = {
        "limit": limit, "shard": driver.parse_shard(shard), "address": address,
        "t2i_workers": t2i_workers, "t2v_workers": t2v_workers, "retry_failed": retry_failed,
        "max_failed_fraction": max_failed_fraction, "force": force,
    }  # fmt: skip
    with display.view(plain=plain) as watch:
        summary = driver.run(manifest, loaded, output, watch=watch, **options)
    display.print_summary(summary)
    _report(summary)
    if summary.signal:
        sys.exit(128 + summary.signal)
    if summary.failed_fraction > max_failed_fraction:
        sys.exit(EXIT_TOO_MANY_FAILED)


def _report(summary: "Summary") -> None:
    """Make the report and say where it is; a run whose report cannot be made is a run all the same."""
    from evs_batch import report
    from evs_batch.store import storage

    try:
        nothing_new = not summary.elapsed_s
        uri = storage.join(summary.output, report.NAME) if nothing_new else report.build(summary.output)
    except Exception as error:
        typer.echo(f"no report: {type(error).__name__}: {error}", err=True)
    else:
        typer.echo(f"report    {uri}")


def report(output: str = OUTPUT) -> None:
    """Make report.html anew: before / after, rows, failures by cause, timeline, quality; print where it is.

    Example:

        evs-batch evaluate out/videos; evs-batch report out/videos
    """
    from evs_batch.report import build

    typer.echo(build(output))


def recipe_of(manifest: str) -> str:
    """The config of the release that is a manifest and a recipe at once."""
    from evs_batch.spec.errors import RecipeError
    from evs_batch.spec.recipe import recipe_names
    from evs_batch.spec.release import is_release

    if not is_release(manifest):
        raise RecipeError("no --recipe", "one must be named, unless MANIFEST is a config of the EVS release",
                          f"add --recipe: {', '.join(recipe_names())}")  # fmt: skip
    return manifest


def status(
    output: str = OUTPUT, as_json: bool = typer.Option(False, "--json", help="Print it as one JSON object.")
) -> None:
    """Print how far a run is and what failed, by cause; from anywhere that reaches the folder.

    Example:

        evs-batch status s3://bucket/out --json
    """
    from evs_batch import display
    from evs_batch.spec.errors import OutputError
    from evs_batch.store import ledger, storage

    uri = storage.absolute(output)
    records = ledger.read_stats(uri)
    if not records:
        raise OutputError(output, "holds no run", "name the folder that was given to `evs-batch run --output`")
    rows = ledger.committed(uri, ["id", "status", "error_type", "error_message"])
    idle = time.time() - max(record["updated_s"] for record in records) > QUIET_S
    at_work = not idle and any(record["state"] not in ENDED for record in records)
    if as_json:
        typer.echo(json.dumps(display.status(records, rows, at_work=at_work)))
        return
    display.print_status(records, rows, {} if at_work else ledger.leftovers(uri), at_work=at_work)
