"""EVS as a script on diffusers' models: half precision, eager, what fits in a forward pass, guidance as one batch."""

# F frames, C latent channels, h/w latent cells

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter, UNetMotionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import CLIPTextModel, CLIPTokenizer

from evs_batch.algo.noise import frame_noise
from evs_batch.bench.device.clock import Clock
from evs_batch.models.schedules import MOTION_DDIM, SD_DDIM
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Clip

DECODE_FRAMES = 16  # the default of AnimateDiff's pipelines

Noise = Callable[[str, Tensor], Tensor]  # ("t2i/0" or "t2v/" and which block, latents like which) -> noise


@dataclass(frozen=True)
class Plain:
    """The models of one folder of `weights.write`."""

    vae: Any
    text: Any
    tokenizer: Any
    unet: Any
    motion: Any
    device: torch.device
    dtype: torch.dtype

    @torch.inference_mode()
    def __call__(self, frames_FHW3: np.ndarray, prompt: str, recipe: Recipe, noise: Noise) -> np.ndarray:
        """One clip, (F, H, W, 3) uint8 in and out, composed as the recipe says."""
        x = torch.tensor(frames_FHW3, device=self.device).permute(0, 3, 1, 2).to(self.dtype) / 127.5 - 1
        scale = self.vae.config.scaling_factor
        encoded = self.vae.encode(x)
        latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        x0 = latents.float() * scale
        x0 = interpolate(x0, scale_factor=recipe.t2i.upscale, mode="bicubic")
        text = self._text([""] * len(x0) + [prompt] * len(x0))
        t2i: Any = DDIMScheduler(**SD_DDIM.config)
        t2i.set_timesteps(recipe.t2i.steps)
        times = t2i.timesteps[len(t2i.timesteps) - recipe.t2i_steps :]
        if len(times) == 0:
            x0 = self._block(x0, text[len(x0) :], recipe, partial(noise, "t2v/0"))
        z = t2i.add_noise(x0, noise("t2i/0", x0), times[:1]) if len(times) else x0
        for remaining, t in zip(range(len(times) - 1, -1, -1), times, strict=True):
            step = t2i.step(self._guided(z, t, text, recipe.t2i.guidance), t, z)
            x0, before, z = step.pred_original_sample, z, step.prev_sample
            if remaining in recipe.switches:
                eps = _left(t2i, before, x0, t)
                block = f"t2v/{recipe.switches.index(remaining)}"
                x0 = self._block(x0, text[len(x0) :], recipe, partial(noise, block))
                z = t2i.add_noise(x0, eps, times[-remaining:][:1]) if remaining else x0
        pictures = [self.vae.decode(part.to(self.dtype)).sample for part in (x0 / scale).split(DECODE_FRAMES)]
        x = torch.cat(pictures).float().clamp(-1, 1)
        return ((x + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    def _guided(self, z: Tensor, t: Tensor, text: Tensor, guidance: float) -> Tensor:
        if guidance == 1:
            return self.unet(z.to(self.dtype), t, text[len(z) :]).sample.float()
        without, with_prompt = self.unet(torch.cat([z, z]).to(self.dtype), t, text).sample.float().chunk(2)
        return without + guidance * (with_prompt - without)

    def _block(self, x0_FChw: Tensor, text: Tensor, recipe: Recipe, noise: Callable[[Tensor], Tensor]) -> Tensor:
        t2v: Any = DDIMScheduler(**MOTION_DDIM.config)
        t2v.set_timesteps(recipe.t2v.steps)
        times = t2v.timesteps[-recipe.t2v.available_steps :][: recipe.t2v_steps]
        z = t2v.add_noise(x0_FChw, noise(x0_FChw), times[:1])
        for t in times:
            z_1CFhw = z.transpose(0, 1)[None].to(self.dtype)
            step = t2v.step(self.motion(z_1CFhw, t, text).sample[0].transpose(0, 1).float(), t, z)
            x0_FChw, z = step.pred_original_sample, step.prev_sample
        return x0_FChw

    def _text(self, prompts: list[str]) -> Tensor:
        tokens = self.tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return self.text(tokens.to(self.device)).last_hidden_state


def noise_of(clip: Clip) -> Noise:
    """What our stages draw for a clip."""

    def noise(purpose: str, like_FChw: Tensor) -> Tensor:
        count, channels, height, width = like_FChw.shape
        drawn = frame_noise(clip.seed, clip.id, purpose, range(count), (channels, height, width))
        return drawn.to(like_FChw.device)

    return noise


def watch(script: Plain, clock: Clock) -> None:
    """Let the script's models count for their parts."""
    for model, method, part in (
        (script.vae, "encode", "encode"), (script.unet, "forward", "t2i"), (script.motion, "forward", "t2v"),
        (script.vae, "decode", "decode"),
    ):  # fmt: skip
        clock.watch(model, method, part)


def _left(scheduler: DDIMScheduler, z: Tensor, x0: Tensor, t: Tensor) -> Tensor:
    """The noise in z, which `ddim_step` goes back to."""
    signal = scheduler.alphas_cumprod[t]
    return (z - signal.sqrt() * x0) / (1 - signal).sqrt()


def load(t2i: Path, motion: Path, device: torch.device, dtype: torch.dtype) -> Plain:
    """Load a diffusers folder and a motion module."""
    unet = UNet2DConditionModel.from_pretrained(t2i / "unet", torch_dtype=dtype)
    adapter = MotionAdapter.from_pretrained(motion, torch_dtype=dtype)
    config: Any = AutoencoderKL.load_config(t2i / "vae")
    vae_class = AutoencoderTiny if config["_class_name"] == "AutoencoderTiny" else AutoencoderKL
    parts: list[Any] = [
        vae_class.from_pretrained(t2i / "vae", torch_dtype=dtype),
        CLIPTextModel.from_pretrained(t2i / "text_encoder", dtype=dtype),
        unet,
        UNetMotionModel.from_unet2d(unet, adapter),
    ]
    vae, text, unet, video = (part.to(device, dtype).eval() for part in parts)
    return Plain(vae, text, CLIPTokenizer.from_pretrained(t2i / "tokenizer"), unet, video, device, dtype)
