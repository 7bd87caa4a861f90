"""Command lines that stand in pages and files, and command lines in this process."""

import contextlib
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest.mock import patch

import typer
from typer.main import get_command

from evs_batch.cli.main import app, main
from evs_batch.spec.recipe import load_recipe
from tests.conftest import ROOT


def run_here(*arguments: str | Path, code: int = 0) -> CompletedProcess:
    """`evs-batch …` in this process, which has imported what it needs; commands that join a Ray need one of their own.

    What they say and how they end is as on the command line.
    """
    out, err, words = StringIO(), StringIO(), ["evs-batch", *map(str, arguments)]
    ended: Any = None
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            with patch("sys.argv", words):
                main()
        except SystemExit as end:
            ended = end.code or 0
    assert ended == code, f"exit code {ended}\n{out.getvalue()}\n{err.getvalue()}"
    return CompletedProcess(words, code, out.getvalue(), err.getvalue())


def complaint(words: Sequence[str], *, mentioned: bool = False) -> str:
    """What the command line says of `evs-batch …`, without doing it: nothing if it could be done.

    Commands, options, arguments, ready recipes and keys must exist. A command that is only `mentioned` need not have
    all of its arguments.
    """
    name, *rest = words
    assert name == "evs-batch", words
    try:
        context = get_command(app).make_context(name, rest)
        while rest := [*context._protected_args, *context.args]:
            name, command, rest = context.command.resolve_command(context, rest)  # type: ignore[attr-defined]
            context = command.make_context(name, rest, parent=context)
        _recipe(context.params)
    except (typer.Exit, SystemExit):  # --help
        return ""
    except Exception as error:
        return "" if mentioned and type(error).__name__ in ("MissingParameter", "BadOptionUsage") else str(error)
    return ""


def _recipe(given: Mapping[str, Any]) -> None:
    """Load the recipe that a command names, unless it is a file of the reader's."""
    recipe, changes = given.get("recipe"), given.get("overrides") or given.get("set_") or ()
    if isinstance(recipe, str) and "." not in recipe and "/" not in recipe:
        load_recipe(recipe, list(changes))
