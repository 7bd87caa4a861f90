"""Algorithm 1 of EVS (Su et al., CVPR 2025): T2I + [T2V] + T2I, bridged by predicted clean latents.

The slips of the printed algorithm are resolved: the noise estimate inside the block is the T2V model's, the block
gives the x0 of its last executed step, and T2I resumes at the timestep after the switch.
"""

# F frames (of all clips of a call), C latent channels, h/w latent cells

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

Model = Callable[[Tensor, Tensor], Tensor]  # (z_FChw, t) -> model output_FChw


class Scheduler(Protocol):
    """The part of a diffusers scheduler that we use. Schedulers keep state: one fresh one per call of a move."""

    timesteps: Tensor
    alphas_cumprod: Tensor

    def scale_model_input(self, sample: Tensor, timestep: Any) -> Tensor: ...
    def step(self, model_output: Tensor, timestep: Any, sample: Tensor) -> Any: ...
    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Any) -> Tensor: ...


@dataclass(frozen=True)
class Bridge:
    """What a model leaves when it stops half-way: the predicted clean latents and the noise still in z."""

    x0_FChw: Tensor
    eps_FChw: Tensor


def start(scheduler: Scheduler, steps: int) -> Tensor:
    """The last `steps` timesteps of a schedule: those that a partial strength runs."""
    return scheduler.timesteps[len(scheduler.timesteps) - steps :]


def segments(timesteps: Tensor, switches: Sequence[int]) -> list[Tensor]:
    """Cut T2I timesteps at the switches; a switch says how many steps remain after its block (`stable_steps`)."""
    cuts = [0, *(len(timesteps) - remaining for remaining in switches), len(timesteps)]
    return [timesteps[a:b] for a, b in pairwise(cuts)]


def add_noise(scheduler: Scheduler, x0_FChw: Tensor, eps_FChw: Tensor, timesteps: Tensor) -> Tensor:
    """Eq. 1: z at the first of `timesteps`; clean latents where there are no steps left."""
    if len(timesteps) == 0:
        return x0_FChw
    return scheduler.add_noise(x0_FChw, eps_FChw, timesteps[:1])


def denoise(model: Model, scheduler: Scheduler, z_FChw: Tensor, timesteps: Iterable[Tensor]) -> Bridge:
    """Run the given steps and stop on the x0 of the last one."""
    x0, entered, t = z_FChw, z_FChw, None
    for t in timesteps:
        output = model(scheduler.scale_model_input(z_FChw, t), t)
        step = scheduler.step(output, t, z_FChw)
        x0, entered, z_FChw = step.pred_original_sample, z_FChw, step.prev_sample
    eps = torch.zeros_like(x0) if t is None else implied_noise(scheduler, entered, x0, t)
    return Bridge(x0, eps)


def implied_noise(scheduler: Scheduler, z_FChw: Tensor, x0_FChw: Tensor, t: Tensor) -> Tensor:
    """The eps that solves Eq. 1 for a given z_t and x0: the free re-entry `ddim_step`."""
    alpha = scheduler.alphas_cumprod[int(t)].to(z_FChw)
    return (z_FChw - alpha.sqrt() * x0_FChw) / (1 - alpha).sqrt()


def refine(t2i: Model, scheduler: Scheduler, x0_FChw: Tensor, eps_FChw: Tensor, timesteps: Tensor) -> Bridge:
    """Eq. 8 and 10: T2I from clean latents over a range of its timesteps to clean latents."""
    z_FChw = add_noise(scheduler, x0_FChw, eps_FChw, timesteps)
    return denoise(t2i, scheduler, z_FChw, timesteps)


def stabilise(t2v: Model, scheduler: Scheduler, x0_FChw: Tensor, eps_FChw: Tensor, timesteps: Tensor) -> Tensor:
    """Eq. 9: the encapsulated block. Its timesteps are independent of where T2I stands."""
    z_FChw = add_noise(scheduler, x0_FChw, eps_FChw, timesteps)
    return denoise(t2v, scheduler, z_FChw, timesteps).x0_FChw


def evs(
    t2i: Model,
    t2v: Model,
    new_scheduler: Callable[[str], Scheduler],
    noise: Callable[[str], Tensor],
    z0_FChw: Tensor,
    *,
    executed_steps: int,
    switches: Sequence[int],
    t2v_steps: int,
    block_steps: int,
    fresh_reentry: bool,
) -> Tensor:
    """The whole algorithm in one place; workers run the same moves, one stage each.

    `new_scheduler` makes a scheduler for "t2i" or "t2v"; `noise` draws eps_FChw by purpose.
    """
    grid = start(new_scheduler("t2i"), executed_steps)
    x0, eps = z0_FChw, noise("t2i/0")
    for visit, timesteps in enumerate(segments(grid, switches)):
        bridge = refine(t2i, new_scheduler("t2i"), x0, eps, timesteps)
        x0 = bridge.x0_FChw
        if visit < len(switches):
            scheduler = new_scheduler("t2v")
            block = start(scheduler, t2v_steps)[:block_steps]
            x0 = stabilise(t2v, scheduler, x0, noise(f"t2v/{visit}"), block)
            eps = noise(f"t2i/{visit + 1}") if fresh_reentry else bridge.eps_FChw
    return x0
