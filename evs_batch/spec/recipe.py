"""Recipes: what is done to every clip of a job, read from TOML and checked once."""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError, model_validator

from evs_batch.spec import release
from evs_batch.spec.errors import RecipeError, nearest
from evs_batch.spec.tables import RELEASE, T2I, T2V, Input, Lora, Output, Runtime, Sfi, key

__all__ = ["Composition", "Input", "Lora", "Output", "Recipe", "load_recipe", "parse_recipe", "recipe_names"]

_PACKAGE = Path(__file__).parents[1]
PIPELINES = next((p for p in (_PACKAGE / "pipelines", _PACKAGE.parent / "pipelines") if p.is_dir()), _PACKAGE)

MOST_SWITCHES = 100

Composition = Literal["T2I+[T2V]+T2I", "T2I", "T2V", "T2I+T2V", "T2V+T2I", "VAE", "identity"]


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """A whole recipe; see `load_recipe`."""

    composition: Composition = key(
        "T2I+[T2V]+T2I", "which models, in which order; `VAE` encodes and decodes only, `identity` has no model",
        RELEASE.format("pipeline_mode"),
    )  # fmt: skip
    seed: int = key(23, "of all noise; a row may have its own", RELEASE.format("seed"), ge=0, lt=2**63)
    t2i: T2I = T2I()
    t2v: T2V = T2V()
    sfi: Sfi = Sfi()
    input: Input = Input()
    output: Output = Output()
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _check(self) -> "Recipe":
        if "T2I" in self.composition and self.t2i.executed_steps < 1:
            raise _too_few_steps("t2i", self.t2i.steps, self.t2i.strength)
        if self.t2i.attention == "first_frame" and self.runtime.frames_per_forward < 2:
            raise RecipeError(
                "runtime.frames_per_forward=1", "must be 2 or more with t2i.attention='first_frame'", "raise it"
            )
        if self.t2i.attention == "first_frame" and self.t2i.token_downsampling > 1:
            raise RecipeError(
                f"t2i.token_downsampling={self.t2i.token_downsampling}", "must be 1 with t2i.attention='first_frame'",
                "change one",
            )  # fmt: skip
        if "T2V" in self.composition:
            self._check_t2v()
        if self.composition == "T2I+[T2V]+T2I":
            self._check_block()
        return self

    def _check_t2v(self) -> None:
        t2v = self.t2v
        if t2v.available_steps < 1:
            raise _too_few_steps("t2v", t2v.steps, t2v.strength)
        if t2v.overlap >= t2v.window:
            raise RecipeError(f"t2v.overlap={t2v.overlap}", f"must be below t2v.window={t2v.window}", "lower it")
        if t2v.entry == "mixed" and self.composition != "T2I+T2V":
            raise RecipeError(
                "t2v.entry='mixed'", f"needs a T2I that has finished; the composition is {self.composition!r}",
                "set composition = 'T2I+T2V' or another t2v.entry",
            )  # fmt: skip
        if t2v.entry == "mixed" and t2v.bridge == "pixels":
            raise RecipeError("t2v.entry='mixed'", "needs t2v.bridge='latents': noise is no picture", "change one")
        if self.sfi.enabled and t2v.entry != "ddim":
            raise RecipeError(
                f"t2v.entry={t2v.entry!r}",
                "must be 'ddim' with sfi.enabled: the features come from the inversion",
                "set t2v.entry = 'ddim' or sfi.enabled = false",
            )

    def _check_block(self) -> None:
        count, t2v = self.t2i.executed_steps, self.t2v
        if t2v.switch_at == "every" and count > MOST_SWITCHES:
            raise RecipeError(
                "t2v.switch_at='every'",
                f"must be at most {MOST_SWITCHES} blocks: {count} T2I steps are run",
                "name some",
            )
        if self.switches != tuple(sorted(set(self.switches), reverse=True)):
            raise RecipeError(
                f"t2v.switch_at={_shown(t2v.switch_at)}",
                "must be in strictly descending order",
                "sort it, largest first",
            )
        if not self.switches or not all(0 <= remaining < count for remaining in self.switches):
            first = 1 if t2v.switch_counts == "current" else 0
            raise RecipeError(
                f"t2v.switch_at={_shown(t2v.switch_at)}",
                f"must name steps in {first}..{count - 1 + first}: {count} T2I steps are run "
                f"(steps={self.t2i.steps} * strength={self.t2i.strength})",
                "lower it or raise t2i.strength",
            )
        if t2v.block_steps > t2v.available_steps and not t2v.coupled:
            raise RecipeError(
                f"t2v.block_steps={t2v.block_steps}",
                f"must be at most {t2v.available_steps} (steps={t2v.steps} * strength={t2v.strength})",
                "lower it or raise t2v.strength",
            )

    def at(self, strength: float | None) -> "Recipe":
        """This recipe with another T2I strength, as a row may ask for; raises RecipeError if its blocks do not fit."""
        return self if strength is None else _with_strength(self, strength)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels of the result for a source of that size."""
        if self.composition == "identity":
            return height, width
        return round(height * self.t2i.upscale), round(width * self.t2i.upscale)

    @property
    def switches(self) -> tuple[int, ...]:
        """T2I steps that remain after each visit to T2V; empty where there is none."""
        return {
            "T2I+[T2V]+T2I": self._block_switches,
            "T2V+T2I": (self.t2i_steps,),
            "T2I+T2V": (0,),
            "T2V": (0,),
        }.get(self.composition, ())

    @property
    def _block_switches(self) -> tuple[int, ...]:
        if self.t2v.switch_at == "every":
            return tuple(range(self.t2i.executed_steps - 1, 0, -1)) or (0,)
        counted_too = 1 if self.t2v.switch_counts == "current" else 0
        return tuple(steps - counted_too for steps in self.t2v.switch_at)

    @property
    def t2i_steps(self) -> int:
        """N: T2I steps that are run; without any, the T2I worker encodes and decodes only."""
        return self.t2i.executed_steps if "T2I" in self.composition else 0

    @property
    def t2v_steps(self) -> int:
        """Steps of a visit to T2V: an encapsulated block stops early, any other runs all that its strength gives."""
        return self.t2v.block_steps if self.composition == "T2I+[T2V]+T2I" else self.t2v.available_steps

    @property
    def t2v_evaluations(self) -> int:
        """Evaluations of T2V in one visit, the most that there may be."""
        available = self.t2v.steps if self.t2v.coupled else self.t2v.available_steps
        return min(self.t2v_steps, available) + (available if self.t2v.entry != "random" else 0)

    @property
    def t2v_context(self) -> int:
        """Frames around a segment that a visit to T2V looks at: all that can change the segment, if so many may be.

        One more than its windows show: a shot that begins there ends the windows before it.
        """
        return min(self.t2v.context, self.t2v_evaluations * (self.t2v.window - 1) + 1)

    def identity(self) -> dict[str, Any]:
        """All keys that can change a pixel; recipes with equal identities give equal videos on equal hardware."""
        return self.model_dump(mode="json", exclude=_WITHOUT_EFFECT)

    @property
    def fingerprint(self) -> str:
        """A short hash of the identity."""
        return hashlib.blake2b(json.dumps(self.identity(), sort_keys=True).encode(), digest_size=8).hexdigest()


@lru_cache(256)
def _with_strength(recipe: Recipe, strength: float) -> Recipe:
    if recipe.t2v.switch_at == "every" and recipe.composition == "T2I+[T2V]+T2I":
        raise RecipeError(f"strength={strength}", "rows share one strength where t2v.switch_at='every'", "leave it out")
    tree = recipe.model_dump()
    return parse_recipe({**tree, "t2i": {**tree["t2i"], "strength": strength}})


_WITHOUT_EFFECT = {
    "runtime": {
        "batch_frames", "compile_cache", "gpus_per_worker", "labels", "memory_gb", "max_attempts", "max_wait_s",
        "offload", "pickles", "stall_s", "storage", "timeout_s", "workers",
    },
    "sfi": {"memory_gb"},
    "output": {"previews", "preview_rows"},
}  # fmt: skip


def _shown(switch_at: Any) -> Any:
    return list(switch_at) if isinstance(switch_at, tuple) else repr(switch_at)


def _too_few_steps(table: str, steps: int, strength: float) -> RecipeError:
    return RecipeError(
        f"{table}.strength={strength}", f"gives no step of {table}.steps={steps}", "raise one of the two"
    )


def recipe_names() -> list[str]:
    """The ready recipes."""
    return sorted(path.stem for path in PIPELINES.glob("*.toml"))


def _read_file(path: str) -> bytes | None:
    return Path(path).read_bytes() if os.path.isfile(path) else None


def load_recipe(
    name: str | Path, overrides: Sequence[str] = (), read: Callable[[str], bytes | None] = _read_file
) -> Recipe:
    """Read a ready recipe by name, or by path a TOML file or a JSON config of the EVS release.

    `overrides` are `key.key=value` strings. `read` gives what a file holds, None if there is none.

    Raises RecipeError for an unknown recipe, key or value.
    """
    path = str(PIPELINES / f"{name}.toml" if str(name) in recipe_names() else name)
    data = read(path)
    if data is None:
        raise RecipeError(
            f"recipe '{name}'", "neither a ready recipe nor a TOML file", nearest(str(name), recipe_names())
        )
    tree = release.read_recipe(data) if release.is_release(path) else _parse_toml(path, data)
    for override in overrides:
        _override(tree, override)
    return parse_recipe(tree)


def parse_recipe(tree: Mapping[str, Any]) -> Recipe:
    """Check a recipe given as nested dicts."""
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise _explain(error) from error


def _parse_toml(path: str, data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(path, f"not valid TOML ({error})", "mend the line that it names") from error


def _override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or "\n" in override:
        raise RecipeError(f"--set {override}", "must be key=value", "for example --set t2i.strength=0.3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text
    *tables, leaf = key.strip().split(".")
    for table in tables:
        tree = tree.setdefault(table, {})
        if not isinstance(tree, dict):
            raise RecipeError(
                f"--set {override}", f"'{table}' is a value, not a table", "see `evs-batch recipes schema`"
            )
    tree[leaf] = value


def _explain(error: ValidationError) -> RecipeError:
    """The first problem, with the nearest name for an unknown key."""
    problem = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return RecipeError(f"recipe key '{key}'", "unknown", nearest(key, _keys(Recipe)))
    value = f"{key}={problem['input']!r}"
    if problem["type"] == "literal_error":
        expected = problem.get("ctx", {}).get("expected", "")
        return RecipeError(
            value, f"must be {expected}", nearest(str(problem["input"]), re.findall(r"'([^']*)'", expected))
        )
    return RecipeError(value, problem["msg"], "see `evs-batch recipes schema`")


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        keys += [prefix + name, *(_keys(kind, f"{prefix}{name}.") if nested else [])]
    return keys
