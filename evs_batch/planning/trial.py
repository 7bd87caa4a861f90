"""A short run of a few rows: what it costs is what the rest will cost."""

import json
import logging
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from evs_batch import driver
from evs_batch.planning.costs import Costs, of_run
from evs_batch.runtime import cluster
from evs_batch.spec.errors import RunError
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.video import VideoFacts
from evs_batch.spec.work import Clip
from evs_batch.store import ledger, storage

log = logging.getLogger("evs_batch")
Found = tuple[Clip, VideoFacts]


def run(
    recipe: Recipe, found: Sequence[Found], options: driver.Options, scratch: str | None, device: cluster.Device
) -> Costs:
    """Enhance these clips into a folder that is removed afterwards; raises RunError if none of them comes out.

    Where others work too, the folder lies in `scratch`, which they reach. `device` is what the workers are on.
    """
    if scratch is None and cluster.is_remote(options.address):
        raise RunError(
            "a short run on a cluster", "needs a folder that all nodes reach", "name one with --scratch, or use --costs"
        )
    log.info("a short run of %d rows measures what they cost", len(found))
    with tempfile.TemporaryDirectory(prefix="evs-plan-") as here:
        output = storage.join(scratch or here, f"evs-plan-{uuid4().hex}")
        try:
            costs = _measured(recipe, found, options, Path(here) / "rows.jsonl", output)
            return replace(costs, of=f"a short run of {len(found)} rows on a {device}")
        finally:
            storage.remove_folder(output)


def _measured(recipe: Recipe, found: Sequence[Found], options: driver.Options, rows: Path, output: str) -> Costs:
    rows.write_text("".join(json.dumps(_row(clip)) + "\n" for clip, _ in found))
    quiet = recipe.model_copy(update={"output": recipe.output.model_copy(update={"previews": ()})})
    summary = driver.run(rows, quiet, output, **vars(replace(options, max_failed_fraction=1.0)))
    if summary.signal:
        raise KeyboardInterrupt
    done = list(ledger.committed(output, ["id", "output_bytes", "num_frames", "error_message"]))
    if not summary.success:
        raise RunError("a short run", f"failed: {done[0]['error_message']}", "mend the cause, or use --costs")
    pixels = {clip.id: math.prod(recipe.output_size(facts.height, facts.width)) for clip, facts in found}
    made = [row for row in done if row["num_frames"]]
    frames = sum(row["num_frames"] for row in made)
    return of_run(
        ledger.read_stats(output)[0],
        recipe,
        {clip.id: facts.frames for clip, facts in found},
        pixels=sum(row["num_frames"] * pixels[row["id"]] for row in made) / frames,
        output_bytes=sum(row["output_bytes"] for row in made),
        elapsed_s=summary.elapsed_s,
    )


def _row(clip: Clip) -> dict[str, Any]:
    return {name: value for name, value in asdict(clip).items() if name != "number" and value is not None}
