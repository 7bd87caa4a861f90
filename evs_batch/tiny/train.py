"""Train the tiny family on the CPU: tokenizer, VAE, T2I with its text encoder, then the motion module on frozen
spatial layers, as AnimateDiff does (Guo et al. 2023)."""

# N pictures, F frames, C latent channels, H/W pixels, h/w latent cells

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from diffusers.models.unets.unet_motion_model import MotionAdapter, UNetMotionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor, nn

from evs_batch.tiny import WEIGHTS, architecture, clips, data
from evs_batch.tiny.fit import Schedule, fit

CROP_PX = 64
CAPTION_DROP = 0.1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes of a training run; the defaults made the shipped weights."""

    clips: int = 2400
    vae: Schedule = Schedule(steps=6000, learning_rate=1.5e-3)
    t2i: Schedule = Schedule(steps=5000, learning_rate=1e-3)
    motion: Schedule = Schedule(steps=1200, learning_rate=1e-3)


def train(work: Path, weights: Path = WEIGHTS, plan: Plan = Plan()) -> None:
    """Make every part, in order; run again to go on where it stopped. Finished parts are read back."""
    torch.manual_seed(0)
    work.mkdir(parents=True, exist_ok=True)
    pool_NFHW3 = data.render_clips(work / "clips.npy", plan.clips)
    captions = data.captions(plan.clips)
    tokenizer = architecture.train_tokenizer(captions, weights / "tokenizer")

    vae = architecture.build_vae()
    fit("vae", vae, lambda g: vae_loss(vae, pool_NFHW3, g), plan.vae, work)
    vae.register_to_config(scaling_factor=_unit_scale(vae, pool_NFHW3))
    _ship(vae, weights / "vae")

    sharp_NFChw = data.encode_clips(work / "sharp.pt", vae, pool_NFHW3, soft=False)
    text, unet = architecture.build_text_encoder(tokenizer), architecture.build_unet()
    tokens = torch.tensor(tokenizer([*captions, ""], padding="max_length", truncation=True).input_ids)
    both = nn.ModuleDict({"text_encoder": text, "unet": unet})
    fit("t2i", both, lambda g: t2i_loss(text, unet, tokens, sharp_NFChw, g), plan.t2i, work)
    _ship(text, weights / "text_encoder")
    _ship(unet, weights / "unet")

    soft_NFChw = data.encode_clips(work / "soft.pt", vae, pool_NFHW3, soft=True)
    with torch.no_grad():
        embeddings = text(tokens).last_hidden_state
    adapter = architecture.build_motion_adapter()
    motion: Any = UNetMotionModel.from_unet2d(unet, adapter)
    motion.freeze_unet2d_params()
    fit("motion", motion, lambda g: motion_loss(motion, embeddings, soft_NFChw, g), plan.motion, work)
    motion.save_motion_modules(str(work / "motion"))
    _ship(MotionAdapter.from_pretrained(work / "motion"), weights / "motion")


def vae_loss(vae: Any, pool_NFHW3: np.ndarray, generator: torch.Generator) -> Tensor:
    """L1, L2 and gradient L1 on 16 crops, half of them degraded; latents are pulled to mean 0 and deviation 1."""
    x_N3HW = data.to_signed(_crops(pool_NFHW3, generator))
    with torch.autocast("cpu", torch.bfloat16):
        z_NChw = vae.encode(x_N3HW).latents.float()
        noisy = z_NChw + 0.02 * torch.randn(z_NChw.shape, generator=generator)
        y_N3HW = vae.decode(noisy).sample
    error = y_N3HW.float() - x_N3HW
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    mean, deviation = z_NChw.mean((0, 2, 3)), z_NChw.std((0, 2, 3))
    pull = mean.square().mean() + (deviation - 1).square().mean()
    return error.abs().mean() + error.square().mean() + edges + 0.01 * pull


def t2i_loss(text: Any, unet: Any, tokens: Tensor, z_NFChw: Tensor, generator: torch.Generator) -> Tensor:
    """Noise prediction on 32 frames; one caption in ten is empty, so that guidance works."""
    clip, frame = (_randint(limit, 32, generator) for limit in z_NFChw.shape[:2])
    empty = torch.rand(32, generator=generator) < CAPTION_DROP
    rows = torch.where(empty, len(tokens) - 1, clip)
    with torch.autocast("cpu", torch.bfloat16):
        embedding = text(tokens[rows]).last_hidden_state
        return _noise_loss(unet, z_NFChw[clip, frame].float(), embedding, T2I_NOISE, generator)


def motion_loss(motion: Any, embeddings: Tensor, z_NFChw: Tensor, generator: torch.Generator) -> Tensor:
    """Noise prediction on 2 clips of 16 frames under the linear schedule of motion modules."""
    clip = _randint(len(z_NFChw), 2, generator)
    z_NCFhw = z_NFChw[clip].float().transpose(1, 2)
    embedding = embeddings[clip].repeat_interleave(data.FRAMES, 0)
    with torch.autocast("cpu", torch.bfloat16):
        return _noise_loss(motion, z_NCFhw, embedding, T2V_NOISE, generator)


T2I_NOISE: Any = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
T2V_NOISE: Any = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="linear")


def _noise_loss(unet: Any, z: Tensor, embedding: Tensor, noise: Any, generator: torch.Generator) -> Tensor:
    """Timesteps lean to the clean end, where an enhancer works."""
    t = (1000 * torch.rand(len(z), generator=generator) ** 1.5).long()
    eps = torch.randn(z.shape, generator=generator)
    return nnf.mse_loss(unet(noise.add_noise(z, eps, t), t, embedding).sample.float(), eps)


def _crops(pool_NFHW3: np.ndarray, generator: torch.Generator) -> np.ndarray:
    picks = [
        _randint(limit, 16, generator).tolist() for limit in (*pool_NFHW3.shape[:2], *[clips.SIZE_PX - CROP_PX] * 2)
    ]
    crops = np.stack([pool_NFHW3[n, f, y : y + CROP_PX, x : x + CROP_PX] for n, f, y, x in zip(*picks, strict=True)])
    seed = int(torch.randint(2**31, (), generator=generator))
    return np.concatenate([crops[:8], clips.degrade(crops[8:], seed)])


def _randint(limit: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(limit, (count,), generator=generator)


@torch.no_grad()
def _unit_scale(vae: Any, pool_NFHW3: np.ndarray) -> float:
    """The factor that gives latents unit deviation."""
    sample = data.to_signed(pool_NFHW3[:64, 0])
    return round(float(1 / vae.encode(sample).latents.std()), 4)


def _ship(model: Any, folder: Path) -> None:
    """Save in half precision; the model that goes on training stays in full."""
    half = type(model).from_config(model.config) if hasattr(model, "from_config") else type(model)(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(folder, safe_serialization=True)
