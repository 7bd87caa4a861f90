"""All commands, and errors as exit codes."""

import logging
import sys

import typer
from rich.console import Console
from rich.text import Text

from evs_batch.cli import bench, doctor, evaluate, job, manifest, media, models, plan, recipes
from evs_batch.spec.errors import EvsError, ManifestError, ModelError, OutputError, RecipeError
from evs_batch.spec.version import VERSION

EXIT_RUN, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="evs-batch",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Enhance whole datasets of videos with EVS: a T2I model refines frames, a T2V model makes them agree.",
)
app.command()(job.run)
app.command()(plan.plan)
app.command()(manifest.validate)
app.command()(job.status)
app.command()(job.report)
app.command()(media.probe)
app.command()(doctor.doctor)
app.command()(evaluate.evaluate)
app.add_typer(recipes.app, name="recipes")
app.add_typer(manifest.app, name="manifest")
app.add_typer(models.app, name="models")
app.add_typer(bench.app, name="bench")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(VERSION)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, allow_from_autoenv=False, help="Print the version."
    ),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log every decision of the scheduler."),
) -> None:
    logging.basicConfig(
        handlers=[_CurrentStderr()], format="%(asctime)s %(levelname).1s %(message)s", datefmt="%H:%M:%S"
    )
    logging.getLogger("evs_batch").setLevel(logging.DEBUG if verbose else logging.INFO)


class _CurrentStderr(logging.StreamHandler):
    """Writes to what is stderr now: the live view puts lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def main() -> None:
    """Run a command; every EvsError becomes one clear message and an exit code."""
    try:
        app(auto_envvar_prefix="EVS")
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except EvsError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            Text(f"error ({error.code}): ", "bold red"), Text(str(error)), sep=""
        )
        usage = isinstance(error, (RecipeError, ManifestError, ModelError, OutputError))
        sys.exit(EXIT_USAGE if usage else EXIT_RUN)
