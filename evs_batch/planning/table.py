"""Costs of what was measured before: models on a device, video files on one core."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evs_batch.models import zoo
from evs_batch.planning.costs import Costs
from evs_batch.spec.errors import RunError, nearest
from evs_batch.spec.passes import t2i_passes
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Stage, model_stages

_HERE = Path(__file__).parent
DEVICES: Mapping[str, Any] = tomllib.loads((_HERE / "devices.toml").read_text())
MEDIA = next(path for path in (_HERE / "media.json", _HERE.parents[1] / "bench" / "media.json") if path.is_file())
MEDIA_PIXELS = 640 * 1024
PROBE_S = 0.03
OUTERMOST = 0.14  # of a pass through the whole U-Net: what one through the outermost layer alone takes


def of_device(name: str, recipe: Recipe) -> Costs:
    """What a recipe costs on a measured device; raises RunError where nobody measured.

    To start workers and to load models is not counted.
    """
    if name not in DEVICES:
        raise RunError(f"--costs {name}", "neither a file nor a measured device", nearest(name, DEVICES))
    device, source = DEVICES[name], zoo.t2i_source(recipe.t2i.model)
    if recipe.runtime.compile != "off":
        device = {**device, **device["compiled"]}
    stages = model_stages(recipe)
    if stages and source.family != device["family"]:
        raise RunError(
            f"models of the family {source.family}",
            f"were never measured on {name}",
            "measure them there: run plan where such a device is, and take its --json file with --costs",
        )
    models = {stage.name: _stage_s(device, recipe, stage) for stage in stages}
    return Costs(
        of=f"{device['of']}; video files: `evs-batch bench media`; starting workers and their memory are not counted",
        pixels=device["pixels"],
        frame_s={**models, **_media_s(recipe, device["pixels"])},
        quadratic=device["quadratic"],
        clip_s={"probe": PROBE_S},
    )


def _stage_s(device: Mapping[str, float], recipe: Recipe, stage: Stage) -> float:
    """Of one computed frame."""
    if stage.role == "t2v":
        inversions = recipe.t2v_evaluations - recipe.t2v_steps
        return device["motion_s"] * (recipe.t2v_steps * _passes(recipe.t2v.guidance) + inversions)
    whole, outermost = t2i_passes(recipe, stage.visit)
    seconds = device["unet_s"] * (whole + OUTERMOST * outermost + _inversions(recipe, stage.visit))
    if "frames" in stage.needs:
        seconds += device["encode_s"] / recipe.t2i.upscale**2 + device["between_s"]
    return seconds + (device["decode_s"] if "frames" in stage.gives else 0.0)


def _passes(guidance: float) -> int:
    return 2 if guidance > 1 else 1


def _inversions(recipe: Recipe, visit: int) -> int:
    """Evaluations of the inversion before a visit to T2I."""
    left = (recipe.t2i_steps, *recipe.switches, 0)
    steps, mode = left[visit] - left[visit + 1], recipe.t2i.entry if left[visit] == left[0] else recipe.t2i.reentry
    return left[visit] if steps and mode == "ddim" else 0


def _media_s(recipe: Recipe, pixels: float) -> dict[str, float]:
    """Of one frame on one core: decoding a source of the size of the result is the most that it can be."""
    rows = [row for row in json.loads(MEDIA.read_text())["rows"] if row["system"] == "evs-batch"]
    speed = {(row["part"], row["codec"], row["preset"]): row["frames_per_s"] for row in rows}
    output, share = recipe.output, pixels / MEDIA_PIXELS
    presets = (output.preset, "balanced")  # codecs whose presets are alike have one row
    encode = next(
        speed["encode", output.codec, preset] for preset in presets if ("encode", output.codec, preset) in speed
    )
    verify = speed["verify", "h264", ""]
    decode = speed["decode", "h264", ""] * recipe.t2i.upscale**2
    return {"decode": share / decode, "encode": share / encode + share / verify, "join": share / verify}
