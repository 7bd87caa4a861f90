"""The command line: `evs-batch` or `python -m evs_batch`. One file for each group of commands.

Data goes to stdout, logs and progress to stderr. May import everything below, inside the commands.
"""

from evs_batch.cli.main import main

__all__ = ["main"]
