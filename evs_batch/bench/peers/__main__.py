"""One run: system, scenario, clips, workers, folder."""

import sys
from pathlib import Path

from evs_batch.bench.peers.compare import run_here
from evs_batch.bench.peers.work import SCENARIOS

system, scenario, clips, workers, folder = sys.argv[1:]
run_here(system, SCENARIOS[SCENARIOS.index(scenario)], int(clips), int(workers), Path(folder))  # type: ignore[arg-type]
