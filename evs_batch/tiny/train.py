"""Train the tiny family: tokenizer, VAE, T2I with its text encoder, a watercolor LoRA for it, the motion module on
frozen spatial layers, as AnimateDiff does (Guo et al. 2023), a few-step student of that (Salimans and Ho 2022), and a
smaller decoder."""

# N pictures, F frames, C latent channels, H/W pixels, h/w latent cells

import copy
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_motion_model import MotionAdapter, UNetMotionModel
from peft import LoraConfig, get_peft_model_state_dict
from torch import Tensor, nn

from evs_batch.tiny import WEIGHTS, architecture, clips, data
from evs_batch.tiny.curves import draw_losses
from evs_batch.tiny.fit import Schedule, fit
from evs_batch.tiny.losses import few_step_loss, motion_loss, t2i_loss, vae_loss

SHARP_EVERY = 2  # frames that the T2I learns from
LARGE_FRAMES = (0, 10)  # of each clip, drawn at twice the size
STYLE = ", watercolor"

logging.getLogger("diffusers").setLevel(logging.ERROR)  # it warns of an empty list of modules


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes of a training run; the model card says how the shipped weights came about."""

    clips: int = 2000
    vae: Schedule = Schedule(steps=6000, learning_rate=1.5e-3)
    t2i: Schedule = Schedule(steps=6000, learning_rate=1e-3, ema=0.999)
    watercolor: Schedule = Schedule(steps=800, learning_rate=2e-3, ema=0.99)
    motion: tuple[tuple[float, Schedule], ...] = (  # blur of the clips in pixels: softer and softer
        (0.65, Schedule(steps=2000, learning_rate=1e-3)),
        (1.0, Schedule(steps=500, learning_rate=5e-4)),
    )
    motion_few: Schedule = Schedule(steps=1200, learning_rate=2e-4, ema=0.99)
    decoder: Schedule = Schedule(steps=8000, learning_rate=2e-3)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every part needs: where checkpoints and weights go, where it starts, what computes, and the data."""

    work: Path
    weights: Path
    start: Path | None
    plan: Plan
    device: torch.device
    small_NFHW3: np.ndarray
    captions: list[str]


def train(
    work: Path, weights: Path = WEIGHTS, plan: Plan = Plan(), device: str | None = None, start: Path | None = None
) -> None:
    """Make every part, in order; run again to go on where it stopped. Finished parts are read back.

    Parts that the folder `start` holds are trained further, from its weights; its VAE is kept as it is.
    """
    torch.manual_seed(0)
    work.mkdir(parents=True, exist_ok=True)
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    small_NFHW3 = data.render_clips(work / "clips.npy", plan.clips)
    bench = Bench(
        work=work,
        weights=weights,
        start=start,
        plan=plan,
        device=chosen,
        small_NFHW3=small_NFHW3,
        captions=data.captions(plan.clips),
    )
    vae = train_vae(bench)
    text, unet, tokenizer = train_t2i(bench, vae)
    motion = train_motion(bench, vae, text, unet, tokenizer)
    train_few_steps(bench, vae, text, motion, tokenizer)
    train_watercolor(bench, vae, text, unet, tokenizer)
    train_decoder(bench, vae)
    draw_losses(work, work / "losses.png")


def train_vae(bench: Bench) -> Any:
    """The autoencoder, with the factor that gives latents unit deviation."""
    vae = _placed(architecture.build_vae(), bench, "vae")
    if bench.start and (bench.start / "vae").exists():
        config: Any = AutoencoderTiny.load_config(bench.start / "vae")
        vae.register_to_config(scaling_factor=config["scaling_factor"])
        _ship(vae, bench.weights / "vae")
        return vae
    fit("vae", vae, lambda g: vae_loss(vae, bench.small_NFHW3, g), bench.plan.vae, bench.work)
    vae.register_to_config(scaling_factor=_unit_scale(vae, bench.small_NFHW3))
    _ship(vae, bench.weights / "vae")
    return vae


def train_t2i(bench: Bench, vae: Any) -> tuple[Any, Any, Any]:
    """Text encoder and U-Net together, on clean frames of both sizes."""
    work = bench.work
    large_NFHW3 = data.render_clips(work / "large.npy", bench.plan.clips, LARGE_FRAMES, scale=2)
    small = data.encode_clips(work / "sharp.pt", vae, bench.small_NFHW3[:, ::SHARP_EVERY])
    large = data.encode_clips(work / "sharp_large.pt", vae, large_NFHW3)
    styled = [caption + STYLE for caption in bench.captions]
    tokenizer = architecture.train_tokenizer([*bench.captions, *styled], bench.weights / "tokenizer")
    text = _placed(architecture.build_text_encoder(tokenizer), bench, "text_encoder")
    unet = _placed(architecture.build_unet(), bench, "unet")
    tokens = _tokens(tokenizer, [*bench.captions, ""], bench.device)
    both = nn.ModuleDict({"text_encoder": text, "unet": unet})
    fit("t2i", both, lambda g: t2i_loss(text, unet, tokens, (small, large), g), bench.plan.t2i, work)
    _ship(text, bench.weights / "text_encoder")
    _ship(unet, bench.weights / "unet")
    return text, unet, tokenizer


def train_motion(bench: Bench, vae: Any, text: Any, unet: Any, tokenizer: Any) -> Any:
    """Temporal layers between the frozen spatial ones, on soft clips: better at consistency, worse at imaging."""
    embeddings = _embed(text, _tokens(tokenizer, bench.captions, bench.device))
    temporal = _placed(architecture.build_motion_adapter(), bench, "motion")
    motion = _placed(UNetMotionModel.from_unet2d(unet, temporal), bench)
    motion.freeze_unet2d_params()
    for blur_px, schedule in bench.plan.motion:
        loss = partial(motion_loss, motion, embeddings, _soft_latents(bench, vae, blur_px))
        fit(f"motion-{blur_px}", motion, loss, schedule, bench.work)
    _ship_motion(motion, bench.work / "motion", bench.weights / "motion")
    return motion


def train_few_steps(bench: Bench, vae: Any, text: Any, teacher: Any, tokenizer: Any) -> None:
    """A copy of the temporal layers that goes in one step where the teacher goes in four; on what it will be given."""
    soft_NFChw = _soft_latents(bench, vae, blur_px=bench.plan.motion[-1][0])
    given_NFChw = data.encode_clips(bench.work / "degraded.pt", vae, bench.small_NFHW3, clips.degrade)
    embeddings = _embed(text, _tokens(tokenizer, bench.captions, bench.device))
    student = copy.deepcopy(teacher)
    student.freeze_unet2d_params()
    loss = partial(few_step_loss, student, teacher, embeddings, (soft_NFChw, given_NFChw))
    fit("motion_few", student, loss, bench.plan.motion_few, bench.work)
    _ship_motion(student, bench.work / "motion_few", bench.weights / "motion_few")


def train_watercolor(bench: Bench, vae: Any, text: Any, unet: Any, tokenizer: Any) -> None:
    """A LoRA on attention and convolutions, in the format that diffusers loads."""
    painted = data.encode_clips(
        bench.work / "watercolor.pt", vae, bench.small_NFHW3[:, ::5], lambda clip, _: clips.watercolor(clip)
    )
    tokens = _tokens(tokenizer, [*(caption + STYLE for caption in bench.captions), ""], bench.device)
    text.requires_grad_(False)
    unet.requires_grad_(False)
    unet.add_adapter(
        LoraConfig(
            r=architecture.LORA_RANK,
            lora_alpha=architecture.LORA_RANK,
            target_modules=["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "conv_in", "conv_out"],
        )
    )
    fit("watercolor", unet, lambda g: t2i_loss(text, unet, tokens, (painted,), g), bench.plan.watercolor, bench.work)
    layers: Any = {name: value.half().contiguous() for name, value in get_peft_model_state_dict(unet).items()}
    StableDiffusionLoraLoaderMixin.save_lora_weights(bench.weights / "watercolor", unet_lora_layers=layers)


def train_decoder(bench: Bench, vae: Any) -> None:
    """A smaller decoder of the same latents, beside the encoder that makes them; as TAESD is for Stable Diffusion."""
    small = _placed(architecture.build_small_decoder(), bench, "decoder")
    small.encoder.load_state_dict(vae.encoder.state_dict())
    small.encoder.requires_grad_(False)
    small.register_to_config(scaling_factor=vae.config["scaling_factor"])
    fit("decoder", small, lambda g: vae_loss(small, bench.small_NFHW3, g), bench.plan.decoder, bench.work)
    _ship(small, bench.weights / "decoder")


def _soft_latents(bench: Bench, vae: Any, blur_px: float) -> Tensor:
    """Latents of what the motion module learns from; (N, F, C, h, w)."""
    path = bench.work / f"soft-{blur_px}.pt"
    return data.encode_clips(path, vae, bench.small_NFHW3, lambda clip, _: clips.soften(clip, blur_px))


def _placed(model: Any, bench: Bench, part: str = "") -> Any:
    """On the device that computes, with the weights that this part starts from."""
    if part and bench.start and (bench.start / part).exists():
        model.load_state_dict(type(model).from_pretrained(bench.start / part).state_dict())
    return model.to(bench.device, memory_format=torch.channels_last)


def _tokens(tokenizer: Any, prompts: list[str], device: torch.device) -> Tensor:
    return torch.tensor(tokenizer(prompts, padding="max_length", truncation=True).input_ids, device=device)


@torch.no_grad()
def _embed(text: Any, tokens: Tensor) -> Tensor:
    return torch.cat([text(some).last_hidden_state for some in tokens.split(256)])


@torch.no_grad()
def _unit_scale(vae: Any, pool_NFHW3: np.ndarray) -> float:
    """The factor that gives latents unit deviation."""
    sample = data.to_signed(pool_NFHW3[:64, 0]).to(vae.device)
    return round(float(1 / vae.encode(sample).latents.std()), 4)


def _ship_motion(motion: Any, work: Path, folder: Path) -> None:
    motion.save_motion_modules(str(work))
    _ship(MotionAdapter.from_pretrained(work), folder)


def _ship(model: Any, folder: Path) -> None:
    """Save in half precision; the model that goes on training stays in full."""
    shipped = copy.deepcopy(model).to("cpu", torch.float16, memory_format=torch.contiguous_format)
    if hasattr(shipped, "register_to_config"):
        shipped.register_to_config(_name_or_path="")  # not where it was trained
    shipped.save_pretrained(folder, safe_serialization=True)
