"""The parts of a T2I or T2V model as plain callables on fp32 tensors."""

# N clips of a call, F frames of all of them, W windows, K frames of a window, T tokens, D text width,
# C latent channels, H/W pixels, h/w latent cells

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as nnf
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import UNetMotionModel
from torch import Tensor

from evs_batch.algo.evs import Model
from evs_batch.algo.windows import Plan, windowed
from evs_batch.models.attention import FewerKeys, FirstFrames, behind_first_frames
from evs_batch.models.caching import FeatureCache
from evs_batch.models.cores import suit_cores
from evs_batch.models.doubling import double_last
from evs_batch.models.fitting import Fitting
from evs_batch.models.fp8 import check_fp8, in_fp8
from evs_batch.models.guidance import Guidance
from evs_batch.models.hardware import Hardware, check_finite, in_chunks
from evs_batch.models.loading import twin
from evs_batch.models.sfi import Injection

CACHED_PROMPTS = 1024
SLICE_FRAMES = {
    "AutoencoderTiny": 4,
    "AutoencoderKL": 1,
}  # so many stay in a processor's cache; a full-size decoder takes gigabytes


Call = Callable[[Any, Tensor, Tensor, Tensor], Tensor]  # (unet, z, t, text of each frame) -> output
Scale = Callable[[Tensor], float]  # of guidance at a timestep


def call_unet(unet: Any, z: Tensor, t: Tensor, text_BTD: Tensor) -> Tensor:
    """A forward pass of a U-Net that needs nothing but text."""
    return unet(z, t, text_BTD).sample


class TextEncoder:
    """Prompts to embeddings; each prompt on its own and once."""

    def __init__(self, tokenizer: Any, encoder: Any, hardware: Hardware) -> None:
        self._tokenizer, self._encoder, self._hardware = tokenizer, hardware.place(encoder), hardware
        self._encode = lru_cache(CACHED_PROMPTS)(self._encode_one)

    def __call__(self, prompts: list[str]) -> Tensor:
        """(N, T, D) in the hardware's precision."""
        return torch.cat([self._encode(prompt) for prompt in prompts])

    @torch.inference_mode()
    def _encode_one(self, prompt: str) -> Tensor:
        tokens = self._tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return self._encoder(tokens.to(self._hardware.device)).last_hidden_state


class Vae:
    """Pictures to scaled clean latents and back, in slices of a few frames."""

    def __init__(self, vae: Any, hardware: Hardware, *, tiles: bool = False) -> None:
        if hardware.device.type == "cpu":
            double_last(vae)
        self._vae, self._hardware, self._slice = hardware.place(vae), hardware, SLICE_FRAMES[type(vae).__name__]
        if tiles:
            vae.enable_tiling()
            self._slice = 1
        self._scale = float(vae.config.scaling_factor)
        self._shift = float(getattr(vae.config, "shift_factor", None) or 0.0)
        self.factor_px = 2 ** (len(vae.config.block_out_channels) - 1)
        self.channels = int(vae.config.latent_channels)

    @torch.inference_mode()
    def encode(self, frames_FHW3: Tensor) -> Tensor:
        """uint8 pictures, sides divisible by `factor_px`, to latents (F, C, h, w); the posterior's mode."""
        return in_chunks(self._encode, self._slice, frames_FHW3)

    @torch.inference_mode()
    def decode(self, z_FChw: Tensor) -> Tensor:
        """Latents to uint8 pictures (F, H, W, 3) on the CPU."""
        return in_chunks(self._decode, self._slice, z_FChw)

    def _encode(self, frames_FHW3: Tensor) -> Tensor:
        x_F3HW = frames_FHW3.permute(0, 3, 1, 2).to(self._hardware.device).float() / 127.5 - 1
        found = self._vae.encode(self._hardware(x_F3HW))
        z_FChw = found.latents if hasattr(found, "latents") else found.latent_dist.mode()
        return (z_FChw.float() - self._shift) * self._scale

    def _decode(self, z_FChw: Tensor) -> Tensor:
        x_F3HW = self._vae.decode(self._hardware(z_FChw / self._scale + self._shift)).sample.float()
        check_finite("decoded frames", x_F3HW)
        return ((x_F3HW.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu()


class T2I:
    """A frame-wise noise predictor.

    With `first_frame`, every frame looks at the first one of its clip. `cache_interval` and `token_downsampling` above
    1 and `fp8` are faster and not the same, see `FeatureCache`, `FewerKeys` and `Product8`. Fewer frames than
    `frames_per_forward` go through a forward pass where so many do not fit the device, see `Fitting`.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        hardware: Hardware,
        frames_per_forward: int,
        *,
        first_frame: bool = False,
        cache_interval: int = 1,
        token_downsampling: int = 1,
        fp8: bool = False,
        call: Call = call_unet,
    ) -> None:
        self._spatial = unet  # whose weights a T2V may share
        own = twin(unet)
        if fp8:
            check_fp8(hardware.device)
            in_fp8(own)
        if hardware.device.type == "cpu":
            suit_cores(own)
        self._first = FirstFrames(own) if first_frame else None
        self._fewer = FewerKeys(own, token_downsampling) if token_downsampling > 1 else None
        self._cache = FeatureCache(own, cache_interval) if cache_interval > 1 else None
        self._guided = Guidance(own)
        self._unet = hardware.place(own)
        self._hardware, self._call = hardware, call
        self._fitting = Fitting(frames_per_forward, 2 if first_frame else 1, self._forget)
        self.multiple = side_multiple(unet)

    def prompted(self, prompt_NTD: Tensor, negative_NTD: Tensor, guidance: Scale, lengths: list[int]) -> Model:
        """The model of Algorithm 1 for the frames of clips with these prompts and lengths."""
        clip_of_frame = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
        self._forget()

        @lru_cache
        def texts(frames: tuple[int, ...]) -> tuple[Tensor, Tensor]:
            clips = clip_of_frame[list(frames)]
            return prompt_NTD[clips], negative_NTD[clips]

        @torch.inference_mode()
        def predict(z_FChw: Tensor, t: Tensor) -> Tensor:
            time, scale = self._hardware.scalar(t), guidance(t)

            def unet(z: Tensor, text: Tensor) -> Tensor:
                return self._call(self._unet, self._hardware(z), time, text).float()

            def forward(z: Tensor, frames: Tensor) -> Tensor:
                key = tuple(frames.tolist())
                if self._cache:
                    self._cache.key = key
                return self._guided(unet, z, *texts(key), scale)

            def passes(size: int) -> Tensor:
                if self._first:
                    self._first.group = size
                    return behind_first_frames(forward, size, lengths, z_FChw, rows)
                return in_chunks(forward, size, z_FChw, rows)

            if self._fewer:
                self._fewer.width = z_FChw.shape[-1]
            rows = torch.arange(len(z_FChw))
            return self._fitting((z_FChw.shape[2:], scale == 1), passes)

        return predict

    @property
    def forward_frames(self) -> int:
        """How many frames go through a forward pass, of the largest pictures so far."""
        return self._fitting.fewest

    def _forget(self) -> None:
        """Features of latents that do not come again."""
        if self._cache:
            self._cache.clear()


class T2V:
    """A noise predictor that sees windows of frames."""

    def __init__(
        self,
        unet: UNetMotionModel,
        hardware: Hardware,
        injection: Injection | None = None,
        spatial: UNet2DConditionModel | None = None,
        call: Call = call_unet,
    ) -> None:
        if hardware.device.type == "cpu":
            suit_cores(unet)
        self._guided = Guidance(unet)
        # What injection keeps and gives changes from call to call, which compiled code does not see.
        self._unet = (replace(hardware, compile="off") if injection else hardware).place(unet)
        self._hardware, self.injection = hardware, injection
        self._call = call
        self._spatial = spatial  # whose weights it uses: a T2I that is loaded later must find them
        self.max_window = int(unet.config["motion_max_seq_length"])

    def prompted(
        self, prompt_NTD: Tensor, negative_NTD: Tensor, guidance: float, plans: Sequence[Plan], lengths: list[int]
    ) -> Model:
        """The model of Algorithm 1 for the frames of clips with these prompts, windows and lengths."""

        @torch.inference_mode()
        def predict(z_WKChw: Tensor, t: Tensor, place_W2: Tensor) -> Tensor:
            time = self._hardware.scalar(t)

            def unet(z_WKChw: Tensor, text_WTD: Tensor) -> Tensor:
                text = text_WTD.repeat_interleave(z_WKChw.shape[1], 0)
                z_WCKhw = self._hardware(z_WKChw.transpose(1, 2))
                return self._call(self._unet, z_WCKhw, time, text).transpose(1, 2).float()

            def forward(z: Tensor, prompt: Tensor, negative: Tensor, first_row: Tensor) -> Tensor:
                if self.injection:
                    self.injection.at = float(t), int(first_row)
                return self._guided(unet, z, prompt, negative, guidance)

            # One window a forward: its arithmetic does not depend on its neighbours.
            clip_W, first_row_W = place_W2.T
            return in_chunks(forward, 1, z_WKChw, prompt_NTD[clip_W], negative_NTD[clip_W], first_row_W)

        return windowed(predict, plans, lengths)


def pad_sides(frames_FHW3: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until both sides are divisible."""
    _, height, width, _ = frames_FHW3.shape
    if height % multiple == width % multiple == 0:
        return frames_FHW3
    rows = torch.arange(-(-height // multiple) * multiple).clamp(max=height - 1)
    columns = torch.arange(-(-width // multiple) * multiple).clamp(max=width - 1)
    return frames_FHW3[:, rows][:, :, columns]


def resize_latents(z_FChw: Tensor, rate: float, multiple: int) -> Tensor:
    """Bicubic resize of clean latents by exactly `rate` (`idm_type` EP_X2.0 of the release).

    What is beyond the picture repeats its edge, so that both sides are divisible by `multiple`.
    """
    if rate == 1:
        return z_FChw
    height, width = z_FChw.shape[-2:]
    wanted = [math.ceil(side * rate / multiple) * multiple for side in (height, width)]
    source = [math.ceil(side / rate) + 1 for side in wanted]
    padded = nnf.pad(z_FChw, (0, max(0, source[1] - width), 0, max(0, source[0] - height)), mode="replicate")
    resized = nnf.interpolate(padded, scale_factor=rate, mode="bicubic", align_corners=False)
    return resized[:, :, : wanted[0], : wanted[1]]


def side_multiple(unet: UNet2DConditionModel | UNetMotionModel) -> int:
    """Latent sides must be divisible by this: one halving for each level but the last."""
    return 2 ** (len(unet.config["block_out_channels"]) - 1)
