"""Algorithm 1 against a reference that is slow and obvious: scalars of the paper's formulas, one frame at a time."""

import math

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_lcm import LCMScheduler

from evs_batch.algo import evs
from evs_batch.algo.noise import frame_generators, frame_noise

SHAPE = (4, 3, 5)
FRAMES = 6


def alphas(schedule: str) -> list[float]:
    """Cumulative alphas from the definition of the two noise schedules."""
    product, found = 1.0, []
    for i in range(1000):
        if schedule == "scaled_linear":
            beta = (0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * i / 999) ** 2
        else:
            beta = 0.00085 + (0.012 - 0.00085) * i / 999
        product *= 1 - beta
        found.append(product)
    return found


ALPHAS_I, ALPHAS_V = alphas("scaled_linear"), alphas("linear")
T2I_TIMES = [20 * i + 1 for i in range(50)][::-1]  # leading spacing, offset 1
LCM_SCALING = 0.005  # so small that the boundary matters; published models have 10
T2V_TIMES = [50 * i - 1 for i in range(20, 0, -1)]  # trailing spacing


def eps_i(z, t):
    return np.tanh(z) * 0.7 + math.cos(t / 100)


def eps_v(z, t):
    return 0.5 * (z + z.mean(axis=0)) * math.sin(t / 70)


def ddim(z, eps, t, t_next, alpha):
    """One deterministic step (Song et al. 2021, Eq. 12) and its prediction of the clean latents."""
    x0 = (z - math.sqrt(1 - alpha[t]) * eps) / math.sqrt(alpha[t])
    after = alpha[t_next] if t_next >= 0 else alpha[0]
    return math.sqrt(after) * x0 + math.sqrt(1 - after) * eps, x0


def reference(z0, noise, *, switches, fresh):
    """The paper's Algorithm 1 with its slips resolved; `noise` by purpose."""
    times = T2I_TIMES[-20:]
    z = math.sqrt(ALPHAS_I[times[0]]) * z0 + math.sqrt(1 - ALPHAS_I[times[0]]) * noise("t2i/0")
    blocks = 0
    for i, t in enumerate(times):
        eps = eps_i(z, t)
        z, x0 = ddim(z, eps, t, t - 20, ALPHAS_I)
        if len(times) - 1 - i in switches:
            block = T2V_TIMES[-5:][:2]
            y = math.sqrt(ALPHAS_V[block[0]]) * x0 + math.sqrt(1 - ALPHAS_V[block[0]]) * noise(f"t2v/{blocks}")
            for s in block:
                y, x0 = ddim(y, eps_v(y, s), s, s - 50, ALPHAS_V)
            blocks += 1
            if i + 1 == len(times):
                return x0
            again = noise(f"t2i/{blocks}") if fresh else eps
            z = math.sqrt(ALPHAS_I[times[i + 1]]) * x0 + math.sqrt(1 - ALPHAS_I[times[i + 1]]) * again
    return x0


def scheduler(which: str) -> DDIMScheduler:
    schedule, spacing, steps = {"t2i": ("scaled_linear", "leading", 50), "t2v": ("linear", "trailing", 20)}[which]
    made = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule=schedule, timestep_spacing=spacing, steps_offset=1,
        clip_sample=False, set_alpha_to_one=False,
    )  # fmt: skip
    made.set_timesteps(steps)
    return made


def noise(purpose: str) -> torch.Tensor:
    return frame_noise(7, "clip", purpose, range(FRAMES), SHAPE)


def fresh_noise(purpose: str, x0: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    return noise(purpose)


def t2i(z, t):
    return torch.tanh(z) * 0.7 + math.cos(int(t) / 100)


def t2v(z, t):
    return 0.5 * (z + z.mean(0)) * math.sin(int(t) / 70)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("switches", [[8], [19], [0], [12, 5], [3, 2, 1, 0]])
def test_the_algorithm_equals_the_slow_reference(switches: list[int], fresh: bool):
    z0 = torch.randn(FRAMES, *SHAPE, generator=torch.Generator().manual_seed(0))
    fast = evs.evs(
        t2i, t2v, scheduler, fresh_noise, z0,
        executed_steps=20, switches=switches, t2v_steps=[5] * len(switches), block_steps=2, carry=not fresh,
    )  # fmt: skip
    slow = reference(z0.double().numpy(), lambda p: noise(p).double().numpy(), switches=switches, fresh=fresh)
    assert torch.allclose(fast, torch.tensor(slow).float(), atol=1e-5, rtol=0), (fast - torch.tensor(slow)).abs().max()


def test_the_block_matters():
    z0 = torch.zeros(FRAMES, *SHAPE)
    how = {"executed_steps": 20, "t2v_steps": [5], "block_steps": 2, "carry": True}
    late, early = (evs.evs(t2i, t2v, scheduler, fresh_noise, z0, switches=[s], **how) for s in (3, 15))
    assert (late - early).abs().max() > 1e-2


def test_the_grid_of_the_paper():
    first, rest = (evs.t2i_timesteps(scheduler("t2i"), 20, [8], visit).tolist() for visit in (0, 1))
    assert (first[:2], rest[-2:]) == ([381, 361], [21, 1])
    assert (len(first), len(rest)) == (12, 8), "eight T2I steps remain after the block"
    assert evs.block_timesteps(scheduler("t2v"), 5, 2).tolist() == [249, 199]


def test_a_coupled_block_has_the_noise_of_t2i():
    """VideoElevator: of the T2V's timesteps the one whose noise is nearest to that of T2I."""
    for remaining in (1, 8, 19):
        t = T2I_TIMES[-remaining]
        wanted = (1 - ALPHAS_I[t]) / ALPHAS_I[t]
        nearest = min(T2V_TIMES, key=lambda s: abs(math.log((1 - ALPHAS_V[s]) / ALPHAS_V[s] / wanted)))
        found = evs.coupled_steps(scheduler("t2i"), remaining, scheduler("t2v"))
        assert evs.tail(scheduler("t2v"), found)[0] == nearest
    assert evs.coupled_steps(scheduler("t2i"), 0, scheduler("t2v")) == 1


def test_no_steps_leave_the_latents_alone():
    z0 = torch.randn(2, *SHAPE)
    assert torch.equal(evs.refine(t2i, scheduler("t2i"), z0, torch.randn_like(z0), torch.empty(0)).x0_FChw, z0)


def test_the_noise_of_the_bridge_is_the_models_own():
    times = evs.t2i_timesteps(scheduler("t2i"), 20, [19], 0)
    z0, eps = torch.zeros(2, *SHAPE), torch.randn(2, *SHAPE)
    bridge = evs.refine(t2i, scheduler("t2i"), z0, eps, times)
    z = evs.add_noise(scheduler("t2i"), z0, eps, times)
    assert torch.allclose(bridge.eps_FChw, t2i(z, times[0]), atol=1e-5)


def test_the_bridge_holds_under_a_scheduler_that_scales_z_in_another_way():
    times = evs.block_timesteps(euler(), 3, 2)
    assert times.tolist() == [374, 249]
    x0, eps = torch.randn(2, *SHAPE), torch.randn(2, *SHAPE)
    bridge = evs.refine(lambda _z, _t: eps, euler(), x0, eps, times)
    assert torch.allclose(bridge.x0_FChw, x0, atol=1e-4)
    assert torch.allclose(bridge.eps_FChw, eps, atol=1e-4)


def test_lcm_gives_its_boundary_scaled_x0_and_draws_noise_by_frame():
    times = evs.tail(lcm(), 3)
    purpose = (7, "clip", "steps", range(FRAMES))
    x0 = torch.randn(FRAMES, *SHAPE, generator=torch.Generator().manual_seed(0))
    eps = torch.randn(FRAMES, *SHAPE, generator=torch.Generator().manual_seed(1))
    made = evs.stabilise(t2i, lcm(), x0, eps, times, frame_generators(*purpose))

    z, draw = math.sqrt(ALPHAS_V[times[0]]) * x0 + math.sqrt(1 - ALPHAS_V[times[0]]) * eps, frame_generators(*purpose)
    for t, after in zip(times.tolist(), [*times.tolist()[1:], None], strict=True):
        clean = (z - math.sqrt(1 - ALPHAS_V[t]) * t2i(z, t)) / math.sqrt(ALPHAS_V[t])
        scaled = LCM_SCALING * t
        skip, out = 0.25 / (scaled**2 + 0.25), scaled / math.sqrt(scaled**2 + 0.25)
        slow = skip * z + out * clean
        if after is not None:
            fresh = torch.stack([torch.randn(SHAPE, generator=g) for g in draw])
            z = math.sqrt(ALPHAS_V[after]) * slow + math.sqrt(1 - ALPHAS_V[after]) * fresh
    assert torch.allclose(made, slow, atol=1e-5)

    alone = evs.stabilise(t2i, lcm(), x0[3:4], eps[3:4], times, frame_generators(*purpose)[3:4])
    assert torch.equal(alone[0], made[3]), "whatever the batch"


def lcm() -> LCMScheduler:
    made = LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="linear", timestep_scaling=LCM_SCALING)
    made.set_timesteps(8)
    return made


def euler() -> EulerDiscreteScheduler:
    made = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="linear", timestep_spacing="trailing", steps_offset=1
    )
    made.set_timesteps(8)
    return made


@pytest.mark.parametrize("make", [lambda: scheduler("t2i"), lambda: scheduler("t2v"), euler])
def test_an_inversion_is_undone_by_denoising_where_the_model_sees_the_same_at_every_step(make):
    eps, x0 = torch.randn(2, *SHAPE), torch.randn(2, *SHAPE)
    assert torch.allclose(evs.invert(lambda _z, _t: eps, make(), x0, evs.tail(make(), 3)), eps, atol=1e-4)


def test_an_inversion_goes_the_slow_way_up():
    """The paper's DDIM inversion, one scalar formula at a time."""
    x0 = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1))
    times = evs.tail(scheduler("t2i"), 12)
    z, a = x0.double(), 1.0
    for t in reversed(T2I_TIMES[-12:]):
        eps = eps_i(z.numpy(), t)
        clean = (z - math.sqrt(1 - a) * eps) / math.sqrt(a)
        a = ALPHAS_I[t]
        z = math.sqrt(a) * clean + math.sqrt(1 - a) * eps
    made = evs.add_noise(scheduler("t2i"), x0, evs.invert(t2i, scheduler("t2i"), x0, times), times)
    assert torch.allclose(made.double(), z, atol=1e-4)
