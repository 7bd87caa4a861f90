"""The one place where a run is put together: manifest, recipe, output folder, workers, loop.

May import everything below, Ray only through the runtime.
"""

from evs_batch.driver.job import run
from evs_batch.driver.progress import Options, Progress, Summary, parse_shard

__all__ = ["Options", "Progress", "Summary", "parse_shard", "run"]
