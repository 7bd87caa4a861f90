"""Train the tiny family: tokenizer, VAE, T2I with its text encoder, a watercolor LoRA for it, the motion module on
frozen spatial layers, as AnimateDiff does (Guo et al. 2023), and a few-step student of that (Salimans and Ho 2022)."""

# N pictures, F frames, C latent channels, H/W pixels, h/w latent cells

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_motion_model import MotionAdapter, UNetMotionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from peft import LoraConfig, get_peft_model_state_dict
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from evs_batch.models.hardware import multiplies_bf16
from evs_batch.tiny import WEIGHTS, architecture, clips, data
from evs_batch.tiny.fit import Schedule, fit
from evs_batch.tiny.losses import draw_losses

CROP_PX = 64
CAPTION_DROP = 0.1
SHARP_EVERY = 2  # frames that the T2I learns from
LARGE_FRAMES = (0, 10)  # of each clip, drawn at twice the size
LARGE_SHARE = 0.25  # of the T2I's steps
CELLS_PER_STEP = 32 * 32**2  # 32 pictures, or 8 of twice the size
STUDENT_STEPS, TEACHER_STEPS = 8, 32
STYLE = ", watercolor"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes of a training run; the defaults made the shipped weights."""

    clips: int = 2000
    vae: Schedule = Schedule(steps=3000, learning_rate=1.5e-3)
    t2i: Schedule = Schedule(steps=8000, learning_rate=1e-3, ema=0.999)
    watercolor: Schedule = Schedule(steps=400, learning_rate=1e-3, ema=0.99)
    motion: Schedule = Schedule(steps=3000, learning_rate=1e-3)
    motion_few: Schedule = Schedule(steps=400, learning_rate=2e-4, ema=0.99)


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
    soft_NFChw = data.encode_clips(bench.work / "soft.pt", vae, bench.small_NFHW3, clips.soften)
    embeddings = _embed(text, _tokens(tokenizer, bench.captions, bench.device))
    temporal = _placed(architecture.build_motion_adapter(), bench, "motion")
    motion = _placed(UNetMotionModel.from_unet2d(unet, temporal), bench)
    motion.freeze_unet2d_params()
    fit("motion", motion, lambda g: motion_loss(motion, embeddings, soft_NFChw, g), bench.plan.motion, bench.work)
    _ship_motion(motion, bench.work / "motion", bench.weights / "motion")
    return motion


def train_few_steps(bench: Bench, vae: Any, text: Any, teacher: Any, tokenizer: Any) -> None:
    """A copy of the temporal layers that goes in one step where the teacher goes in four."""
    soft_NFChw = data.encode_clips(bench.work / "soft.pt", vae, bench.small_NFHW3, clips.soften)
    embeddings = _embed(text, _tokens(tokenizer, bench.captions, bench.device))
    student = copy.deepcopy(teacher)
    student.freeze_unet2d_params()

    def loss(generator: torch.Generator) -> Tensor:
        return few_step_loss(student, teacher, embeddings, soft_NFChw, generator)

    fit("motion_few", student, loss, bench.plan.motion_few, bench.work)
    _ship_motion(student, bench.work / "motion_few", bench.weights / "motion_few")


def train_watercolor(bench: Bench, vae: Any, text: Any, unet: Any, tokenizer: Any) -> None:
    """A LoRA on attention and convolutions, in the format that diffusers loads."""
    painted = data.encode_clips(bench.work / "watercolor.pt", vae, bench.small_NFHW3[:, ::5], clips.watercolor)
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


def vae_loss(vae: Any, pool_NFHW3: np.ndarray, generator: torch.Generator) -> Tensor:
    """L1, L2 and gradient L1 on 16 crops, half of them degraded; latents are pulled to mean 0 and deviation 1."""
    x_N3HW = data.to_signed(_crops(pool_NFHW3, generator)).to(vae.device)
    with _mixed(vae.device):
        z_NChw = vae.encode(x_N3HW).latents.float()
        noisy = z_NChw + 0.02 * torch.randn(z_NChw.shape, generator=generator).to(vae.device)
        y_N3HW = vae.decode(noisy).sample
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
    student: Any, teacher: Any, embeddings: Tensor, z_NFChw: Tensor, generator: torch.Generator
) -> Tensor:
    """Progressive distillation: one step of the student must land where several DDIM steps of the teacher do."""
    device, noise = embeddings.device, T2V_NOISE
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
    """Timesteps lean to the clean end, where an enhancer works."""
    t = (1000 * torch.rand(len(z), generator=generator) ** 1.5).long()
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


def _placed(model: Any, bench: Bench, part: str = "") -> Any:
    """On the device that computes, with the weights that this part starts from."""
    if part and bench.start and (bench.start / part).exists():
        model.load_state_dict(type(model).from_pretrained(bench.start / part).state_dict())
    return model.to(bench.device)


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
    half = type(model).from_config(model.config) if hasattr(model, "from_config") else type(model)(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(folder, safe_serialization=True)
