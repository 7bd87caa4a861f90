"""The JSON configs of the EVS release (alibaba/EasyNLP, diffusion/EVS): videos with prompts, and a recipe."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from evs_batch.spec.errors import ManifestError, RecipeError, nearest

SUFFIX = ".json"
ROWS = {"mp4_files": "uri", "prompts": "prompt"}
COMPOSITIONS = {
    "IDM": "T2I",
    "VDM": "T2V",
    "IDM_VDM": "T2I+T2V",
    "VDM_IDM": "T2V+T2I",
    "IDM_VDM_IDM": "T2I+[T2V]+T2I",
}
SETTINGS: Mapping[str, Mapping[str, Any]] = {"animatelcm": {"steps": 8, "guidance": 1.5}}
LIGHTNING = {"steps": 8, "guidance": 1.0}
_MODEL_AND_RATE = re.compile(r"(?P<model>.+?)(?:_X(?P<rate>\d+(?:\.\d+)?))?")

Tables = dict[str, dict[str, Any]]


def is_release(uri: Any) -> bool:
    """Whether a manifest or a recipe is a config of the release."""
    return str(uri).lower().endswith(SUFFIX)


def read_rows(text: str | bytes) -> list[dict[str, str]]:
    """The rows that a config asks for: `uri` and `prompt` of each video; raises RecipeError and ManifestError."""
    config = _parse(text)
    lists: list[Any] = [config.get(key) for key in ROWS]
    for key, values in zip(ROWS, lists, strict=True):
        if not isinstance(values, list):
            raise ManifestError(f"{key}={values!r}", "must be a list", "see the release's config for the enhance task")
    lengths = [len(values) for values in lists]
    if len(set(lengths)) > 1:
        raise ManifestError(
            " and ".join(f"{count} {key}" for count, key in zip(lengths, ROWS, strict=True)),
            "must be as many prompts as files", "add the missing ones",
        )  # fmt: skip
    return [dict(zip(ROWS.values(), row, strict=True)) for row in zip(*lists, strict=True)]


def read_recipe(text: str | bytes) -> dict[str, Any]:
    """The recipe that a config means, as nested dicts; keys that it lacks keep their defaults. Raises RecipeError."""
    tables: Tables = {"t2i": {}, "t2v": {}}
    tree: dict[str, Any] = dict(tables)
    for key, value in _parse(text).items():
        if key in ROWS:
            continue
        if key not in _KEYS:
            raise RecipeError(f"config key '{key}'", "unknown", nearest(key, [*ROWS, *_KEYS]))
        _KEYS[key](tree, value)
    return tree


def _put(path: str) -> Callable[[dict[str, Any], Any], None]:
    *tables, leaf = path.split(".")

    def put(tree: dict[str, Any], value: Any) -> None:
        for table in tables:
            tree = tree[table]
        tree[leaf] = value

    return put


def _composition(tree: dict[str, Any], value: Any) -> None:
    if value not in [*COMPOSITIONS]:
        raise RecipeError(f"pipeline_mode={value!r}", f"must be one of {', '.join(COMPOSITIONS)}", "change it")
    tree["composition"] = COMPOSITIONS[value]


def _attention(tree: dict[str, Any], value: Any) -> None:
    if not isinstance(value, bool):
        raise RecipeError(f"using_attn={value!r}", "must be true or false", "change it")
    tree["t2i"]["attention"] = "first_frame" if value else "self"


def _t2i_model(tree: dict[str, Any], value: Any) -> None:
    """`EP_X2.0`: the model and how much larger its latents are."""
    found = _MODEL_AND_RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise RecipeError(f"idm_type={value!r}", "must be a model and an upscale rate", "for example EP_X2.0")
    tree["t2i"] |= {"model": found["model"], "upscale": float(found["rate"] or 1)}


def _t2v_model(tree: dict[str, Any], value: Any) -> None:
    """Steps and guidance belong to the family; the release fixes them in its code."""
    tree["t2v"] |= {"model": value, **(SETTINGS.get(value, LIGHTNING) if isinstance(value, str) else {})}


_KEYS: Mapping[str, Callable[[dict[str, Any], Any], None]] = {
    "using_attn": _attention,
    "pipeline_mode": _composition,
    "idm_invert_mode": _put("t2i.entry"),
    "vdm_invert_mode": _put("t2v.entry"),
    "idm_invert_mode_2": _put("t2i.reentry"),
    "vdm_type": _t2v_model,
    "idm_type": _t2i_model,
    "idm_inverse_strength": _put("t2i.strength"),
    "vdm_inverse_strength": _put("t2v.strength"),
    "stable_num": _put("t2v.block_steps"),
    "stable_steps": _put("t2v.switch_at"),
    "seed": _put("seed"),
}


def _parse(text: str | bytes) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError("the config", f"is not valid JSON ({error})", "mend the place that it names") from error
    if not isinstance(config, dict):
        raise RecipeError("the config", "must be a JSON object", "see the release's config for the enhance task")
    return config
