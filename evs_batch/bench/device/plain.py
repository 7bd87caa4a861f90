"""EVS as a script on diffusers' models: half precision, eager, what fits in a forward pass, guidance as one batch."""

# F frames, C latent channels, h/w latent cells

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter, UNetMotionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import CLIPTextModel, CLIPTokenizer

from evs_batch.bench.device.clock import Clock
from evs_batch.models.zoo import MOTION_DDIM, SD_DDIM
from evs_batch.spec.recipe import Recipe

DECODE_FRAMES = 16  # the default of AnimateDiff's pipelines

Noise = Callable[[str, Tensor], Tensor]  # ("t2i" or "t2v", latents like which) -> noise


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
        """One clip, (F, H, W, 3) uint8 in and out, composed as the recipe says with at most one switch."""
        x = torch.tensor(frames_FHW3, device=self.device).permute(0, 3, 1, 2).to(self.dtype) / 127.5 - 1
        scale = self.vae.config.scaling_factor
        x0 = self.vae.encode(x).latent_dist.mode().float() * scale
        x0 = interpolate(x0, scale_factor=recipe.t2i.upscale, mode="bicubic")
        text = self._text([""] * len(x0) + [prompt] * len(x0))
        t2i: Any = DDIMScheduler(**SD_DDIM.config)
        t2i.set_timesteps(recipe.t2i.steps)
        times = t2i.timesteps[len(t2i.timesteps) - recipe.t2i_steps :]
        if len(times) == 0:
            x0 = self._block(x0, text[len(x0) :], recipe, noise)
        z = t2i.add_noise(x0, noise("t2i", x0), times[:1]) if len(times) else x0
        for remaining, t in zip(range(len(times) - 1, -1, -1), times, strict=True):
            both = self.unet(torch.cat([z, z]).to(self.dtype), t, text).sample.float()
            without, with_prompt = both.chunk(2)
            step = t2i.step(without + recipe.t2i.guidance * (with_prompt - without), t, z)
            x0, before, z = step.pred_original_sample, z, step.prev_sample
            if remaining in recipe.switches:
                eps = _left(t2i, before, x0, t)
                x0 = self._block(x0, text[len(x0) :], recipe, noise)
                z = t2i.add_noise(x0, eps, times[-remaining:][:1]) if remaining else x0
        pictures = [self.vae.decode(part.to(self.dtype)).sample for part in (x0 / scale).split(DECODE_FRAMES)]
        x = torch.cat(pictures).float().clamp(-1, 1)
        return ((x + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    def _block(self, x0_FChw: Tensor, text: Tensor, recipe: Recipe, noise: Noise) -> Tensor:
        t2v: Any = DDIMScheduler(**MOTION_DDIM.config)
        t2v.set_timesteps(recipe.t2v.steps)
        times = t2v.timesteps[-recipe.t2v.available_steps :][: recipe.t2v_steps]
        z = t2v.add_noise(x0_FChw, noise("t2v", x0_FChw), times[:1])
        for t in times:
            z_1CFhw = z.transpose(0, 1)[None].to(self.dtype)
            step = t2v.step(self.motion(z_1CFhw, t, text).sample[0].transpose(0, 1).float(), t, z)
            x0_FChw, z = step.pred_original_sample, step.prev_sample
        return x0_FChw

    def _text(self, prompts: list[str]) -> Tensor:
        tokens = self.tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return self.text(tokens.to(self.device)).last_hidden_state


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


def load(folder: Path, device: torch.device, dtype: torch.dtype) -> Plain:
    """Load a folder of `weights.write`."""
    unet = UNet2DConditionModel.from_pretrained(folder / "t2i" / "unet", torch_dtype=dtype)
    adapter = MotionAdapter.from_pretrained(folder / "motion", torch_dtype=dtype)
    parts: list[Any] = [
        AutoencoderKL.from_pretrained(folder / "t2i" / "vae", torch_dtype=dtype),
        CLIPTextModel.from_pretrained(folder / "t2i" / "text_encoder", dtype=dtype),
        unet,
        UNetMotionModel.from_unet2d(unet, adapter),
    ]
    vae, text, unet, motion = (part.to(device, dtype).eval() for part in parts)
    return Plain(vae, text, CLIPTokenizer.from_pretrained(folder / "t2i" / "tokenizer"), unet, motion, device, dtype)
