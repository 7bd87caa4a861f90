"""The plan of a run: what there is to do, on what, how long it takes and what it needs."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evs_batch import driver
from evs_batch.driver.models import check_models
from evs_batch.models.places import ABSENT
from evs_batch.planning import costs as files
from evs_batch.planning import table, trial
from evs_batch.planning.costs import Costs
from evs_batch.planning.forecast import Forecast, forecast, sizes
from evs_batch.planning.survey import Survey, look
from evs_batch.runtime import cluster
from evs_batch.scheduling.admission import credit
from evs_batch.scheduling.events import Size
from evs_batch.spec.errors import ModelError, RunError
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import model_stages, path
from evs_batch.store import reading, storage

GPUS_OF_NODE = 8
SHORT_RUN = "run"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is planned for: the cluster at `run.address` or this machine, or `gpus` that are not here.

    `costs` is "run" for a short run of so many `rows`, or a file of an earlier plan, or a measured device. So many
    `videos` are looked at. The short run writes to `scratch`, a folder that all nodes reach. Whether results have room
    in `output` is looked at where it is a folder of this machine.
    """

    run: driver.Options = driver.Options()
    gpus: int | None = None
    cpus_per_gpu: int = 8
    costs: str = SHORT_RUN
    rows: int = 4
    videos: int = 64
    scratch: str | None = None
    output: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would run: `frames`, seconds of video and bytes are of all readable videos, as those that were looked at.

    `why_not` are the reasons why it would not go well; if costs could not be known, there is no `forecast`.
    """

    survey: Survey
    placement: cluster.Placement
    nodes: int
    frames: int
    video_s: float
    costs: Costs | None = None
    forecast: Forecast | None = None
    output_bytes: int | None = None
    why_not: tuple[str, ...] = ()

    @property
    def device_hours(self) -> float | None:
        """Hours of GPUs, or of cores if there is none, that workers of models hold."""
        if self.forecast is None:
            return None
        shares = self.placement.shares
        held = sum(
            pool.size * (shares[name].num_gpus or shares[name].num_cpus) for name, pool in self.placement.pools.items()
        )
        return held * self.forecast.seconds / 3600

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times in seconds."""
        survey, told = self.survey, self.forecast
        return {
            "rows": {"all": survey.rows, "good": survey.good, "readable": survey.readable, "looked_at": survey.looked},
            "problems": dict(survey.problems),
            "frames": self.frames, "video_s": self.video_s, "nodes": self.nodes,
            "placement": asdict(self.placement),
            "costs": self.costs and self.costs.as_dict(), "forecast": told and asdict(told),
            "device_hours": self.device_hours, "output_bytes": self.output_bytes,
            "feasible": not self.why_not, "why_not": list(self.why_not),
        }  # fmt: skip


def plan(manifest: str | Path, recipe: Recipe, asked: Asked = Asked()) -> Plan:
    """Foretell a run and leave nothing behind; raises RecipeError, ManifestError, and RunError for unknown costs."""
    storage.configure(recipe.runtime.storage)
    survey = look(reading.open_manifest(str(manifest), recipe.seed), recipe, asked.run.limit, asked.videos)
    here = _nodes(asked.run.address) if asked.gpus is None or asked.costs == SHORT_RUN else []
    nodes = here if asked.gpus is None else _imagined(asked.gpus, asked.cpus_per_gpu)
    lacking = _missing_models(recipe, asked)
    placement = cluster.place(recipe, nodes, asked.run.t2i_workers, asked.run.t2v_workers)
    seen = sizes(recipe, [facts for _, facts in survey.found], placement.budget_bytes)
    why_not = [*_unfit(survey, recipe, seen, placement), *lacking]
    mean = survey.readable / max(1, len(survey.found))
    made = Plan(
        survey=survey,
        placement=placement,
        nodes=len(nodes),
        frames=round(mean * sum(facts.frames for _, facts in survey.found)),
        video_s=mean * sum(facts.duration_s for _, facts in survey.found),
        why_not=tuple(why_not),
    )
    if not survey.found or (lacking and asked.costs == SHORT_RUN):
        return made
    costs = _costs(recipe, survey, here, asked)
    told = forecast(recipe, placement, costs, seen, survey.readable)
    return _with_output(replace(made, costs=costs, forecast=told), recipe, asked.output)


def _nodes(address: str | None) -> list[Mapping[str, float]]:
    """Those of the cluster, or of a local one that is started for it."""
    cluster.connect(address)
    try:
        return cluster.nodes()
    finally:
        cluster.disconnect()


def _imagined(gpus: int, cpus_per_gpu: int) -> list[Mapping[str, float]]:
    counts = [min(GPUS_OF_NODE, gpus - at) for at in range(0, gpus, GPUS_OF_NODE)]
    return [{"GPU": float(count), "CPU": float(count * cpus_per_gpu)} for count in counts]


def _missing_models(recipe: Recipe, asked: Asked) -> list[str]:
    """Weights that are not on this machine, if it is what the plan is for; raises ModelError for wrong names."""
    try:
        check_models(recipe, asked.run.address)
    except ModelError as error:
        if error.rule != ABSENT:
            raise
        return [str(error)] if asked.gpus is None else []
    return []


def _unfit(survey: Survey, recipe: Recipe, seen: Sequence[Size], placement: cluster.Placement) -> list[str]:
    if not survey.good:
        return [f"none of {survey.rows} rows is good: evs-batch validate names what is wrong with each"]
    if not survey.found:
        return [f"none of the {survey.looked} videos that were looked at can be read"]
    too_large = sum(credit(path(recipe), size).bytes > placement.budget_bytes for size in seen)
    budget = f"the memory of {placement.budget_bytes / 1e9:.1f} GB for what is in flight"
    fix = "raise runtime.memory_gb, or lower runtime.segment_frames or t2v.context"
    return [f"{too_large} of {len(seen)} videos that were looked at do not fit {budget}; {fix}"] if too_large else []


def _costs(recipe: Recipe, survey: Survey, here: Sequence[Mapping[str, float]], asked: Asked) -> Costs:
    if asked.costs.endswith(".json"):
        return _fitting(files.read(Path(asked.costs)), recipe, asked.costs)
    if asked.costs != SHORT_RUN:
        return table.of_device(asked.costs, recipe)
    shortest = sorted(survey.found, key=lambda found: found[1].frames * found[1].width * found[1].height)
    options, device = replace(asked.run, limit=None), cluster.place(recipe, here, None, None).device
    if device == "GPU":  # one worker shows what a frame costs; on a CPU they share the cores
        recipe = recipe.model_copy(update={"runtime": recipe.runtime.model_copy(update={"workers": 1})})
        options = replace(options, t2i_workers=None, t2v_workers=None)
    return trial.run(recipe, shortest[: asked.rows], options, asked.scratch, device)


def _fitting(costs: Costs, recipe: Recipe, file: str) -> Costs:
    """Costs for this recipe; raises RunError if they lack a stage of it."""
    lacking = [stage.name for stage in model_stages(recipe) if stage.name not in costs.frame_s]
    if lacking:
        raise RunError(f"--costs {file}", f"has no costs of {', '.join(lacking)}", "measure this recipe: --costs run")
    other = costs.recipe and costs.recipe != recipe.fingerprint
    return replace(costs, of=f"{costs.of}, WITH ANOTHER RECIPE") if other else costs


def _with_output(made: Plan, recipe: Recipe, output: str | None) -> Plan:
    """The plan with what its results take, and whether there is room for them."""
    assert made.costs, "costs come first"
    if made.costs.bytes_per_pixel is None:
        return made
    found = made.survey.found
    pixels = [math.prod(recipe.output_size(facts.height, facts.width)) * facts.frames for _, facts in found]
    size = round(made.costs.bytes_per_pixel * sum(pixels) / len(found) * made.survey.readable)
    free = _free_bytes(output)
    full = f"the results take {size / 1e9:.1f} GB, and {output} has room for {(free or 0) / 1e9:.1f} GB"
    return replace(
        made, output_bytes=size, why_not=(*made.why_not, full) if free is not None and size > free else made.why_not
    )


def _free_bytes(output: str | None) -> int | None:
    """Room where a folder of this machine is or will be; None for other storages."""
    if output is None or not storage.is_local(output):
        return None
    folder = Path(storage.filesystem(storage.absolute(output))[1])
    return shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.exists())).free
