"""Algorithm 1 of EVS (Su et al., CVPR 2025): T2I + [T2V] + T2I, bridged by predicted clean latents.

The slips of the printed algorithm are resolved: the noise estimate inside the block is the T2V model's, the block
gives the x0 of its last executed step, and T2I resumes at the timestep after the switch.
"""

# F frames (of all clips of a call), C latent channels, h/w latent cells

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

Model = Callable[[Tensor, Tensor], Tensor]  # (z_FChw, t) -> model output_FChw
Renoise = list[torch.Generator] | None


class Scheduler(Protocol):
    """The part of a diffusers scheduler that we use. Schedulers keep state: one fresh one per call of a move."""

    timesteps: Tensor

    def scale_model_input(self, sample: Tensor, timestep: Any) -> Tensor: ...
    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, *, generator: Any = None) -> Any: ...
    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Any) -> Tensor: ...


@dataclass(frozen=True)
class Bridge:
    """What a model leaves when it stops half-way: the predicted clean latents and the noise still in z."""

    x0_FChw: Tensor
    eps_FChw: Tensor


def evs(
    t2i: Model,
    t2v: Model,
    new_scheduler: Callable[[str], Scheduler],
    start: Callable[[str, Tensor, Tensor], Tensor],
    z0_FChw: Tensor,
    *,
    executed_steps: int,
    switches: Sequence[int],
    t2v_steps: Sequence[int],
    block_steps: int,
    carry: bool,
) -> Tensor:
    """The whole algorithm in one place; workers run the same moves, one stage each.

    `new_scheduler` makes a scheduler for "t2i" or "t2v". `start(purpose, x0, timesteps)` gives the eps_FChw that x0 is
    noised with: fresh, or by `invert` over all timesteps down to the clean end. `t2v_steps` are the T2V steps that each
    block has, of which it runs the first `block_steps`. With `carry`, T2I comes back to the noise that it left
    (`ddim_step`).
    """
    x0, left = z0_FChw, None
    for visit, remaining in enumerate([executed_steps, *switches]):
        scheduler = new_scheduler("t2i")
        times = t2i_timesteps(scheduler, executed_steps, switches, visit)
        if len(times):
            eps = left if left is not None and carry else start(f"t2i/{visit}", x0, tail(scheduler, remaining))
            bridge = refine(t2i, scheduler, x0, eps, times)
            x0, left = bridge.x0_FChw, bridge.eps_FChw
        if visit < len(switches):
            scheduler = new_scheduler("t2v")
            eps = start(f"t2v/{visit}", x0, tail(scheduler, t2v_steps[visit]))
            x0 = stabilise(t2v, scheduler, x0, eps, block_timesteps(scheduler, t2v_steps[visit], block_steps))
    return x0


def refine(t2i: Model, scheduler: Scheduler, x0_FChw: Tensor, eps_FChw: Tensor, timesteps: Tensor) -> Bridge:
    """Eq. 8 and 10: T2I from clean latents over a range of its timesteps to clean latents."""
    return denoise(t2i, scheduler, add_noise(scheduler, x0_FChw, eps_FChw, timesteps), timesteps)


def stabilise(
    t2v: Model, scheduler: Scheduler, x0_FChw: Tensor, eps_FChw: Tensor, timesteps: Tensor, renoise: Renoise = None
) -> Tensor:
    """Eq. 9: the encapsulated block. Its timesteps are independent of where T2I stands."""
    return denoise(t2v, scheduler, add_noise(scheduler, x0_FChw, eps_FChw, timesteps), timesteps, renoise).x0_FChw


def invert(model: Model, scheduler: Scheduler, x0_FChw: Tensor, timesteps: Tensor) -> Tensor:
    """DDIM inversion (Song et al. 2021): the noise that leads from clean latents to the first of `timesteps`.

    One evaluation for each, upwards: a step adds the noise that the model sees at the timestep that it goes to.
    """
    z, signal, noise = x0_FChw, 1.0, 0.0
    for t in timesteps.flip(0):
        eps = model(z / math.hypot(signal, noise), t)
        clean = (z - noise * eps) / signal
        signal, noise = levels(scheduler, t)
        z = signal * clean + noise * eps
    return (z - signal * x0_FChw) / noise if noise else torch.zeros_like(x0_FChw)


def t2i_timesteps(scheduler: Scheduler, executed_steps: int, switches: Sequence[int], visit: int) -> Tensor:
    """The timesteps of one visit to T2I: a switch says how many steps remain after its block (`stable_steps`)."""
    grid = tail(scheduler, executed_steps)
    cuts = [0, *(executed_steps - remaining for remaining in switches), executed_steps]
    return grid[cuts[visit] : cuts[visit + 1]]


def block_timesteps(scheduler: Scheduler, available_steps: int, block_steps: int) -> Tensor:
    """The first `block_steps` (n_V) of the timesteps that the T2V strength gives."""
    return tail(scheduler, available_steps)[:block_steps]


def coupled_steps(t2i: Scheduler, remaining: int, t2v: Scheduler) -> int:
    """T2V steps of a block whose first has the noise nearest to that of T2I when it goes on (VideoElevator)."""
    if remaining == 0:
        return 1  # T2I has finished: as little as there is
    wanted = _noise_to_signal(t2i, tail(t2i, remaining)[0])
    away = [abs(math.log(_noise_to_signal(t2v, t) / wanted)) for t in t2v.timesteps]
    return len(away) - away.index(min(away))


def _noise_to_signal(scheduler: Scheduler, t: Tensor) -> float:
    signal, noise = levels(scheduler, t)
    return noise / signal


def add_noise(scheduler: Scheduler, x0_FChw: Tensor, eps_FChw: Tensor, timesteps: Tensor) -> Tensor:
    """Eq. 1: z at the first of `timesteps`; clean latents where there are no steps left."""
    if len(timesteps) == 0:
        return x0_FChw
    return scheduler.add_noise(x0_FChw, eps_FChw, timesteps[:1])


def denoise(
    model: Model, scheduler: Scheduler, z_FChw: Tensor, timesteps: Iterable[Tensor], renoise: Renoise = None
) -> Bridge:
    """Run the given steps and stop on the x0 of the last one, with the noise that it leaves in z (`ddim_step`).

    A scheduler that adds fresh noise between steps (LCM) draws it from `renoise`, one generator for each frame.
    """
    x0, eps = z_FChw, torch.zeros_like(z_FChw)
    for t in timesteps:
        signal, noise = levels(scheduler, t)
        output = model(scheduler.scale_model_input(z_FChw, t), t)
        step = scheduler.step(output, t, z_FChw, generator=renoise)
        x0 = step.denoised if hasattr(step, "denoised") else step.pred_original_sample  # LCM's is boundary-scaled
        eps = (z_FChw - signal * x0) / noise
        z_FChw = step.prev_sample
    return Bridge(x0, eps)


def levels(scheduler: Scheduler, t: Tensor) -> tuple[float, float]:
    """The a and b of z_t = a x0 + b eps (Eq. 1), in whatever way the scheduler scales z."""
    one, zero = torch.ones(1), torch.zeros(1)
    return float(scheduler.add_noise(one, zero, t[None])), float(scheduler.add_noise(zero, one, t[None]))


def tail(scheduler: Scheduler, count: int) -> Tensor:
    """The last timesteps of a schedule: what a partial strength runs."""
    return scheduler.timesteps[len(scheduler.timesteps) - count :]
