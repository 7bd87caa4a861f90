"""`evs-batch probe`: what a video file holds."""

import json

import typer


def probe(
    videos: list[str] = typer.Argument(metavar="VIDEO…", help="Paths or URIs of video files."),
) -> None:
    """Print what a run would find in videos, a JSON object a line; a file that would fail has an `error`.

    Example:

        evs-batch probe clips/*.mp4 | jq .tracks
    """
    from evs_batch.media.probe import probe
    from evs_batch.spec.errors import EvsError
    from evs_batch.spec.recipe import Output
    from evs_batch.store import storage

    failed = False
    for uri in videos:
        try:
            with storage.open_input(uri) as file:
                found = probe(file, Output(unfit="drop")).summary()
        except EvsError as error:
            found, failed = {"error": str(error)}, True
        typer.echo(json.dumps({"uri": uri, **found}, ensure_ascii=False))
    raise typer.Exit(1 if failed else 0)
