"""What a frame costs at each stage: from a short run, from a file, or from the table of measured devices."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from evs_batch.algo.windows import Grid
from evs_batch.spec.errors import RunError
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Role, path

Call = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds of a computed frame whose result has `pixels` pixels, by stage, and of what happens once.

    Models compute more frames than clips have: see `computed` and `forward`.
    Of a frame with more pixels models take `quadratic` of it times their square, and all the rest grows in proportion.
    `clip_s` is for each clip, by stage; `start_s` passes until a worker has loaded its first role, and `load_s` for
    another one; `around_s` before workers are asked for and after the last call. `worker_bytes` is the most that a
    process held, on its GPU if it has one; `bytes_per_pixel` is for results. `of` says where all this is from,
    and `recipe` is the fingerprint of what was run.
    """

    of: str
    pixels: float
    frame_s: Mapping[str, float]
    quadratic: float = 0.0
    clip_s: Mapping[str, float] = field(default_factory=dict)
    start_s: Mapping[Role, float] = field(default_factory=dict)
    load_s: Mapping[Role, float] = field(default_factory=dict)
    around_s: float = 0.0
    bytes_per_pixel: float | None = None
    worker_bytes: int = 0
    recipe: str = ""

    def relative(self, role: Role, pixels: float) -> float:
        """How many times as long as a frame of `pixels` another one takes."""
        ratio, quadratic = pixels / self.pixels, 0.0 if role == "media" else self.quadratic
        return (1 - quadratic) * ratio + quadratic * ratio**2

    def as_dict(self) -> dict[str, Any]:
        """For `read`."""
        return asdict(self)


def read(file: Path) -> Costs:
    """The costs in what `plan --json` wrote; raises RunError."""
    try:
        return TypeAdapter(_File).validate_json(file.read_bytes()).costs
    except (OSError, ValidationError) as error:
        raise RunError(f"--costs {file}", f"holds no costs ({error})", "name a file of `plan --json`") from error


@dataclass(frozen=True)
class _File:
    costs: Costs


def computed(recipe: Recipe, role: Role, frames: int) -> float:
    """How many frames a model computes for each of a clip of so many: T2V's windows overlap and are full."""
    if role != "t2v":
        return 1.0
    grid = Grid(width=recipe.t2v.window, overlap=recipe.t2v.overlap)
    return len(grid.starts(range(frames), 0)) * grid.width / frames


def forward(recipe: Recipe) -> Mapping[Role, int]:
    """Frames of a forward pass: those of a call are filled up to a multiple."""
    return {"t2i": recipe.runtime.frames_per_forward}


def of_run(
    stats: Mapping[str, Any],
    recipe: Recipe,
    lengths: Mapping[str, int],
    *,
    pixels: float,
    output_bytes: int,
    elapsed_s: float,
    of: str = "",
) -> Costs:
    """What a run's own figures say, of clips of so many frames.

    Their frames had `pixels` on average, and the results have `output_bytes`.

    A worker's first call at a stage is slower than its later ones. Where there are later ones, they count, and the
    rest is a part of the start.
    """
    roles: dict[str, Role] = {stage.name: stage.role for stage in path(recipe)}
    calls = _by_stage(
        {**call, "frames": _computed(recipe, roles[call["stage"]], call, lengths)} for call in stats["timeline"]
    )
    frame_s = {name: _frame_s(of_stage.later or of_stage.first) for name, of_stage in calls.items()}
    start_s, load_s = _starts(stats["loads"], _warm_s(calls, frame_s, roles))
    probes, encoded = calls["probe"].all, sum(call["frames"] for call in calls["encode"].all)
    return Costs(
        of=of,
        recipe=recipe.fingerprint,
        pixels=pixels,
        frame_s={name: seconds for name, seconds in frame_s.items() if name != "probe"},
        clip_s={"probe": sum(map(_seconds, probes)) / len(probes)},
        start_s=start_s,
        load_s=load_s,
        around_s=elapsed_s - max(call["end_s"] for call in stats["timeline"]),
        bytes_per_pixel=output_bytes / max(1, encoded * pixels),
        worker_bytes=max(
            (process["memory_bytes"] for process in stats["processes"].values() if process["role"] != "media"),
            default=0,
        ),
    )


def _computed(recipe: Recipe, role: Role, call: Call, lengths: Mapping[str, int]) -> float:
    """Frames that a call has computed; where its clips are longer than it, each has an equal part of it."""
    each, fill = call["frames"] / len(call["clips"]), forward(recipe).get(role, 1)
    whole = [lengths[clip] for clip in call["clips"]]
    parts = whole if sum(whole) == call["frames"] else [each] * len(whole)
    count = sum(part * computed(recipe, role, length) for part, length in zip(parts, whole, strict=True))
    return math.ceil(count / fill) * fill


def _warm_s(
    calls: Mapping[str, "_Calls"], frame_s: Mapping[str, float], roles: Mapping[str, Role]
) -> Mapping[Role, float]:
    """What the first calls of a worker take beyond the usual time, by role; nothing where there are no later ones."""
    warm_s = defaultdict[Role, float](float)
    for name, of_stage in calls.items():
        excess_s = [_seconds(call) - frame_s[name] * call["frames"] for call in of_stage.first]
        warm_s[roles[name]] += max(0.0, sum(excess_s) / len(excess_s)) if of_stage.later else 0.0
    return warm_s


def _starts(loads: Sequence[Mapping[str, Any]], warm_s: Mapping[Role, float]) -> tuple[dict[Role, float], ...]:
    """Seconds until a worker has its first role, and for loads as such, each with the first calls."""
    firsts = {load["worker"]: load for load in reversed(loads)}  # of a worker, the first load
    start_s: dict[Role, float] = {
        load["role"]: load["end_s"] + warm_s.get(load["role"], 0.0) for load in firsts.values()
    }
    load_s: dict[Role, float] = {
        load["role"]: load["end_s"] - load["start_s"] + warm_s.get(load["role"], 0.0) for load in loads
    }
    return start_s, load_s


@dataclass
class _Calls:
    """Those that were a worker's first ones, and the others."""

    first: list[Call] = field(default_factory=list)
    later: list[Call] = field(default_factory=list)

    @property
    def all(self) -> list[Call]:
        return [*self.first, *self.later]


def _by_stage(timeline: Iterable[Call]) -> dict[str, _Calls]:
    found, seen = defaultdict[str, _Calls](_Calls), set[tuple[str, str]]()
    for call in timeline:
        of = found[call["stage"]]
        (of.later if (call["stage"], call["worker"]) in seen else of.first).append(call)
        seen.add((call["stage"], call["worker"]))
    return found


def _seconds(call: Call) -> float:
    return call["end_s"] - call["start_s"]


def _frame_s(calls: Sequence[Call]) -> float:
    return sum(map(_seconds, calls)) / max(1, sum(call["frames"] for call in calls))
