"""What each part of the tiny family is trained on: one function that draws a batch and gives its loss."""

# N pictures, F frames, C latent channels, H/W pixels, h/w latent cells

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from evs_batch.models.hardware import multiplies_bf16
from evs_batch.tiny import clips, data

CROP_PX = 64
LATENT_NOISE = 0.1  # at most: a diffusion model's latents are never exact
CAPTION_DROP = 0.1
LARGE_SHARE = 0.25  # of the T2I's steps
CELLS_PER_STEP = 32 * 32**2  # 32 pictures, or 8 of twice the size
STUDENT_STEPS, TEACHER_STEPS = 4, 16


def vae_loss(vae: Any, pool_NFHW3: np.ndarray, generator: torch.Generator) -> Tensor:
    """L1, L2 and gradient L1 on 16 crops, half of them degraded; latents are pulled to mean 0 and deviation 1."""
    x_N3HW = data.to_signed(_crops(pool_NFHW3, generator)).to(vae.device)
    with _mixed(vae.device):
        z_NChw = vae.encode(x_N3HW).latents.float()
        noise = torch.randn(z_NChw.shape, generator=generator)
        noise *= LATENT_NOISE * torch.rand((16, 1, 1, 1), generator=generator)
        y_N3HW = vae.decode(z_NChw + noise.to(vae.device)).sample
    error = y_N3HW.float() - x_N3HW
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    mean, deviation = z_NChw.mean((0, 2, 3)), z_NChw.std((0, 2, 3))
    pull = mean.square().mean() + (deviation - 1).square().mean()
    return error.abs().mean() + error.square().mean() + edges + 0.01 * pull


def t2i_loss(text: Any, unet: Any, tokens: Tensor, pools: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """Noise prediction on frames of one size; one caption in ten is empty, so that guidance works.

    `pools` holds latents (N, F, C, h, w) of the small frames and, if given, of the large ones.
    """
    large = float(torch.rand((), generator=generator)) < LARGE_SHARE
    z_NFChw = pools[-1] if large else pools[0]
    count = CELLS_PER_STEP // (z_NFChw.shape[-2] * z_NFChw.shape[-1])
    clip, frame = (_randint(limit, count, generator) for limit in z_NFChw.shape[:2])
    empty = torch.rand(count, generator=generator) < CAPTION_DROP
    rows = torch.where(empty, len(tokens) - 1, clip).to(tokens.device)
    with _mixed(tokens.device):
        embedding = text(tokens[rows]).last_hidden_state
        return _noise_loss(unet, z_NFChw[clip, frame].float(), embedding, T2I_NOISE, generator)


def motion_loss(motion: Any, embeddings: Tensor, z_NFChw: Tensor, generator: torch.Generator) -> Tensor:
    """Noise prediction on 2 clips of 16 frames under the linear schedule of motion modules."""
    clip = _randint(len(z_NFChw), 2, generator)
    embedding = embeddings[clip].repeat_interleave(data.FRAMES, 0)
    with _mixed(embeddings.device):
        return _noise_loss(motion, z_NFChw[clip].float().transpose(1, 2), embedding, T2V_NOISE, generator)


def few_step_loss(
    student: Any, teacher: Any, embeddings: Tensor, pools: Sequence[Tensor], generator: torch.Generator
) -> Tensor:
    """Progressive distillation: one step of the student must land where several DDIM steps of the teacher do.

    The teacher answers for any clip: `pools` holds latents (N, F, C, h, w) of every kind that the student will meet.
    """
    device, noise = embeddings.device, T2V_NOISE
    z_NFChw = pools[int(_randint(len(pools), 1, generator))]
    clip = _randint(len(z_NFChw), 1, generator)
    embedding = embeddings[clip].repeat_interleave(data.FRAMES, 0)
    z0 = z_NFChw[clip].float().transpose(1, 2).to(device)
    stride = 1000 // STUDENT_STEPS
    start = stride * (1 + int(_randint(STUDENT_STEPS, 1, generator))) - 1
    times = torch.linspace(start, start - stride, TEACHER_STEPS // STUDENT_STEPS + 1).round().long().tolist()
    z = noise.add_noise(z0, torch.randn(z0.shape, generator=generator).to(device), torch.tensor([start]))
    with _mixed(device):
        with torch.no_grad():
            end = z
            for t, after in pairwise(times):
                end = _ddim(end, teacher(end, t, embedding).sample.float(), t, after)
        predicted = student(z, start, embedding).sample.float()
    (a, b), (a_end, b_end) = _levels(start), _levels(start - stride)
    return nnf.mse_loss(predicted, (end - a_end / a * z) / (b_end - a_end * b / a))


T2I_NOISE: Any = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
T2V_NOISE: Any = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="linear")


@contextmanager
def _mixed(device: torch.device) -> Iterator[None]:
    """bf16 where it is safe and fast. On sequences as short as these, a CPU's fused attention is slow."""
    attention = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bf16(device)), attention:
        yield


def _ddim(z: Tensor, eps: Tensor, t: int, after: int) -> Tensor:
    (a, b), (a_after, b_after) = _levels(t), _levels(after)
    return a_after * (z - b * eps) / a + b_after * eps


def _levels(t: int) -> tuple[float, float]:
    """The a and b of z_t = a x0 + b eps of the T2V; clean before the first timestep."""
    kept = float(T2V_NOISE.alphas_cumprod[t]) if t >= 0 else 1.0
    return kept**0.5, (1 - kept) ** 0.5


def _noise_loss(unet: Any, z: Tensor, embedding: Tensor, noise: Any, generator: torch.Generator) -> Tensor:
    """Timesteps lean to where an enhancer works: half lie in 100..400, logit-normal as in Esser et al. 2024."""
    t = (1000 * torch.sigmoid(1.4 * torch.randn(len(z), generator=generator) - 1)).long()
    eps = torch.randn(z.shape, generator=generator)
    noisy = noise.add_noise(z, eps, t).to(embedding.device)
    predicted = unet(noisy, t.to(embedding.device), embedding).sample.float()
    return nnf.mse_loss(predicted, eps.to(embedding.device))


def _crops(pool_NFHW3: np.ndarray, generator: torch.Generator) -> np.ndarray:
    picks = [
        _randint(limit, 16, generator).tolist() for limit in (*pool_NFHW3.shape[:2], *[clips.SIZE_PX - CROP_PX] * 2)
    ]
    crops = np.stack([pool_NFHW3[n, f, y : y + CROP_PX, x : x + CROP_PX] for n, f, y, x in zip(*picks, strict=True)])
    seed = int(torch.randint(2**31, (), generator=generator))
    return np.concatenate([crops[:8], clips.degrade(crops[8:], seed)])


def _randint(limit: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(limit, (count,), generator=generator)
