"""`python -m evs_batch` is `evs-batch`."""

from evs_batch.cli import main

main()
