"""`evs-batch manifest`: make manifests."""

from pathlib import Path

import typer

app = typer.Typer(no_args_is_help=True, help="Make manifests.")


@app.callback()
def manifest() -> None:
    """Tables of videos and prompts."""


@app.command()
def create(
    source: str = typer.Argument(metavar="SOURCE", help="JSON config of the EVS release, or any manifest."),
    output: Path = typer.Option(..., "--output", "-o", metavar="F.parquet", help="The manifest to write."),
) -> None:
    """Write a Parquet manifest with absolute paths; for a config of the release, print the recipe that it means."""
    from evs_batch.spec import release, toml
    from evs_batch.store import reading
    from evs_batch.store.recipes import load_recipe

    rows = reading.write_parquet(reading.open_manifest(source, seed=0), output)
    typer.echo(f"{rows} rows in {output}", err=True)
    if release.is_release(source):
        typer.echo(toml.dump(load_recipe(source).model_dump(mode="json")), nl=False)
