"""Noise schedules of the model zoo. Nothing heavy is imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from evs_batch.spec.errors import RecipeError

if TYPE_CHECKING:
    from evs_batch.algo.evs import Scheduler


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


LCM = Schedule(scheduler="LCMScheduler", config={"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "linear"})
LIGHTNING = Schedule(
    scheduler="EulerDiscreteScheduler",
    config={"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "linear", "timestep_spacing": "trailing"},
)


def divided(schedule: Schedule, steps: int) -> "Scheduler":
    """A fresh scheduler whose timesteps are set; raises RecipeError for a number of steps that it cannot divide."""
    made = getattr(import_module("diffusers"), schedule.scheduler)(**schedule.config)
    made.set_timesteps(steps)
    times = made.timesteps
    if len(times) != steps or times.min() < 0 or times.max() >= made.config.num_train_timesteps:
        raise RecipeError(f"steps={steps}", "this schedule cannot be divided so", "choose a divisor of 1000")
    return made
