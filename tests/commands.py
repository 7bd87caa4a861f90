"""Command lines that stand in pages and files."""

from collections.abc import Sequence

import typer
from typer.main import get_command

from evs_batch.cli.main import app


def complaint(words: Sequence[str], *, mentioned: bool = False) -> str:
    """What the command line says of `evs-batch …`, without doing it: nothing if its options and arguments exist.

    A command that is only `mentioned` need not have all of its arguments.
    """
    name, *rest = words
    assert name == "evs-batch", words
    try:
        context = get_command(app).make_context(name, rest)
        while rest := [*context._protected_args, *context.args]:
            name, command, rest = context.command.resolve_command(context, rest)  # type: ignore[attr-defined]
            context = command.make_context(name, rest, parent=context)
    except (typer.Exit, SystemExit):  # --help
        return ""
    except Exception as error:
        return "" if mentioned and type(error).__name__ in ("MissingParameter", "BadOptionUsage") else str(error)
    return ""
