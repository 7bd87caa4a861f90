"""The model zoo: which files and which noise schedule a model name means. Nothing heavy is imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from evs_batch.spec.errors import ModelError, RecipeError, nearest

if TYPE_CHECKING:
    from evs_batch.algo.evs import Scheduler

Source = TypeVar("Source")

TINY = Path(__file__).parents[1] / "tiny" / "weights"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A diffusers scheduler by its class name, and how it is configured."""

    scheduler: str
    config: Mapping[str, Any]


_DDIM = {"beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False}
SD_DDIM = Schedule(
    scheduler="DDIMScheduler", config={**_DDIM, "beta_schedule": "scaled_linear", "timestep_spacing": "leading"}
)
MOTION_DDIM = Schedule(
    scheduler="DDIMScheduler", config={**_DDIM, "beta_schedule": "linear", "timestep_spacing": "trailing"}
)


@dataclass(frozen=True, kw_only=True)
class T2ISource:
    """A diffusers folder with vae, text_encoder, tokenizer and unet."""

    folder: Path
    latent_factor_px: int = 8
    schedule: Schedule = SD_DDIM


@dataclass(frozen=True, kw_only=True)
class T2VSource:
    """A motion module and the T2I whose spatial layers it runs on."""

    base: T2ISource
    motion: Path
    schedule: Schedule = MOTION_DDIM


T2I_MODELS: Mapping[str, T2ISource] = {
    "tiny": T2ISource(folder=TINY, latent_factor_px=4),
}

T2V_MODELS: Mapping[str, T2VSource] = {
    "tiny": T2VSource(base=T2I_MODELS["tiny"], motion=TINY / "motion"),
    "tiny-lightning": T2VSource(base=T2I_MODELS["tiny"], motion=TINY / "motion_few"),
}

LORAS: Mapping[str, Path] = {
    "tiny-watercolor": TINY / "watercolor" / "pytorch_lora_weights.safetensors",
}


def t2i_source(name: str) -> T2ISource:
    """Look a T2I model up; raises ModelError with the nearest name."""
    return _look_up("t2i.model", name, T2I_MODELS)


def t2v_source(name: str) -> T2VSource:
    """Look a T2V model up; raises ModelError with the nearest name."""
    return _look_up("t2v.model", name, T2V_MODELS)


def lora_file(name: str) -> Path:
    """A LoRA of the zoo by its name, or a file by its path; raises ModelError if there is neither."""
    path = LORAS.get(name, Path(name))
    if not path.is_file():
        raise ModelError(f"t2i.loras={name!r}", "neither in the model zoo nor a file", nearest(name, LORAS))
    return path


def scheduler(source: T2ISource | T2VSource, steps: int) -> "Scheduler":
    """A fresh scheduler whose timesteps are set; raises RecipeError for a number of steps that it cannot divide."""
    made = getattr(import_module("diffusers"), source.schedule.scheduler)(**source.schedule.config)
    made.set_timesteps(steps)
    times = made.timesteps
    if len(times) != steps or times.min() < 0 or times.max() >= made.config.num_train_timesteps:
        raise RecipeError(f"steps={steps}", "this schedule cannot be divided so", "choose a divisor of 1000")
    return made


def _look_up(key: str, name: str, table: Mapping[str, Source]) -> Source:
    if name not in table:
        raise ModelError(f"{key}={name!r}", "not in the model zoo", nearest(name, table))
    return table[name]
