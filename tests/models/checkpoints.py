"""Small checkpoints in the layouts that authors publish: the real names, random values, a few channels."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

WIDTHS, TEXT_WIDTH, LEVELS = (32, 64, 96, 96), 64, 4
VOCABULARY = 300
COMMIT = "a" * 40

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
MOTION_BLOCK = {
    "attn1": "attention_blocks.0", "attn2": "attention_blocks.1", "norm1": "norms.0", "norm2": "norms.1",
    "norm3": "ff_norm",
}  # fmt: skip


def unet() -> UNet2DConditionModel:
    """Stable Diffusion 1's U-Net with few channels."""
    torch.manual_seed(0)
    return UNet2DConditionModel(block_out_channels=WIDTHS, cross_attention_dim=TEXT_WIDTH)


def vae() -> AutoencoderKL:
    """Stable Diffusion's autoencoder with few channels."""
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=WIDTHS,
        down_block_types=("DownEncoderBlock2D",) * LEVELS,
        up_block_types=("UpDecoderBlock2D",) * LEVELS,
        layers_per_block=2,
        scaling_factor=0.18215,
    )


def text_encoder() -> CLIPTextModel:
    """Stable Diffusion 1's text encoder, narrow and with two layers."""
    torch.manual_seed(2)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=VOCABULARY, hidden_size=TEXT_WIDTH, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=1, bos_token_id=0, eos_token_id=2, pad_token_id=1,
        )
    )  # fmt: skip


def motion(*, mid_block: bool = True) -> MotionAdapter:
    """AnimateDiff's motion module with few channels; version 3 has none in the middle."""
    torch.manual_seed(3)
    return MotionAdapter(block_out_channels=WIDTHS, use_motion_mid_block=mid_block)


def sd1_file(path: Path) -> Path:
    """One file in the layout of v1-5-pruned-emaonly.safetensors."""
    text = {f"text_model.{name.removeprefix('text_model.')}": v for name, v in text_encoder().state_dict().items()}
    text["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return _save(path, {
        **{f"model.diffusion_model.{_unet_name(name)}": v for name, v in unet().state_dict().items()},
        **{f"first_stage_model.{_vae_name(name)}": _as_convolution(name, v) for name, v in vae().state_dict().items()},
        **{f"cond_stage_model.transformer.{name}": v for name, v in text.items()},
        "model_ema.decay": torch.tensor(0.99),
    })  # fmt: skip


def animatediff_file(path: Path, *, mid_block: bool = True, prefix: str = "") -> Path:
    """One file in the layout of mm_sd_v15_v2 or v3_sd15_mm; training checkpoints have the prefix `module.`."""
    return _save(path, {prefix + _motion_name(n): v for n, v in motion(mid_block=mid_block).state_dict().items()})


def diffusers_motion_file(path: Path) -> Path:
    """One file in the layout of animatediff_lightning_8step_diffusers.safetensors."""
    return _save(path, motion().state_dict())


def motion_folder(folder: Path) -> Path:
    """A folder as guoyww/animatediff-motion-adapter-v1-5-2 is."""
    motion().save_pretrained(folder)
    return folder


def diffusers_folder(folder: Path) -> Path:
    """A folder as stable-diffusion-v1-5 is; its text encoder's tensors have the names of older transformers."""
    unet().save_pretrained(folder / "unet")
    vae().save_pretrained(folder / "vae")
    encoder = text_encoder()
    encoder.save_pretrained(folder / "text_encoder")
    named = {f"text_model.{n.removeprefix('text_model.')}": v for n, v in encoder.state_dict().items()}
    _save(folder / "text_encoder" / "model.safetensors", named)
    return tokenizer_folder(folder)


def tokenizer_folder(folder: Path) -> Path:
    """A `tokenizer` of single letters, in the files of CLIP's."""
    letters = [chr(c) for c in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    where = folder / "tokenizer"
    where.mkdir(parents=True, exist_ok=True)
    (where / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (where / "merges.txt").write_text("#version: 0.2\n")
    (where / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>",
    }))  # fmt: skip
    return folder


def put_in_cache(cache: Path, repo: str, folder: Path, commit: str = COMMIT) -> Path:
    """A repository in a cache of the hub, as the hub's own client lays it out; `main` is that commit."""
    root = cache / f"models--{repo.replace('/', '--')}"
    for file in (f for f in folder.rglob("*") if f.is_file()):
        blob = root / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        link = root / "snapshots" / commit / file.relative_to(folder)
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(file.read_bytes())
        link.symlink_to(blob)
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / "main").write_text(commit)
    return root / "snapshots" / commit


def _unet_name(name: str) -> str:
    for ours, theirs in UNET_ENDS.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    if found := re.fullmatch(r"(down|up)_blocks\.(\d)\.(down|up)samplers\.0\.conv\.(.+)", name):
        level, rest = int(found[2]), found[4]
        if found[1] == "down":
            return f"input_blocks.{3 * level + 3}.0.op.{rest}"
        return f"output_blocks.{3 * level + 2}.{1 if level == 0 else 2}.conv.{rest}"
    side, level, kind, number, rest = _split(name)
    slot = 0 if kind == "resnets" else 1
    if side == "mid":
        return f"middle_block.{2 * number if slot == 0 else 1}.{_resnet(rest) if slot == 0 else rest}"
    block = f"input_blocks.{3 * level + number + 1}" if side == "down" else f"output_blocks.{3 * level + number}"
    return f"{block}.{slot}.{_resnet(rest) if slot == 0 else rest}"


def _split(name: str) -> tuple[str, int, str, int, str]:
    found = re.fullmatch(r"(down|up|mid)_blocks?\.(?:(\d)\.)?(resnets|attentions)\.(\d)\.(.+)", name)
    assert found, name
    return found[1], int(found[2] or 0), found[3], int(found[4]), found[5]


def _resnet(rest: str) -> str:
    module, _, parameter = rest.rpartition(".")
    return f"{RESNET[module]}.{parameter}"


def _vae_name(name: str) -> str:
    if name.startswith(("quant_conv", "post_quant_conv")):
        return name
    half, rest = name.split(".", 1)
    rest = rest.replace("conv_norm_out", "norm_out")
    if found := re.fullmatch(r"(down|up)_blocks\.(\d)\.(down|up)samplers\.0\.conv\.(.+)", rest):
        level = int(found[2]) if found[1] == "down" else LEVELS - 1 - int(found[2])
        return f"{half}.{found[1]}.{level}.{found[3]}sample.conv.{found[4]}"
    if not re.match(r"(down|up|mid)_block", rest):
        return f"{half}.{rest}"
    side, level, kind, number, inner = _split(rest)
    inner = inner.replace("conv_shortcut", "nin_shortcut")
    if side == "mid" and kind == "attentions":
        module, _, parameter = inner.rpartition(".")
        return f"{half}.mid.attn_1.{VAE_ATTENTION[module]}.{parameter}"
    if side == "mid":
        return f"{half}.mid.block_{number + 1}.{inner}"
    level = level if side == "down" else LEVELS - 1 - level
    return f"{half}.{side}.{level}.block.{number}.{inner}"


def _as_convolution(name: str, value: Tensor) -> Tensor:
    """The original's attention projects with convolutions of 1x1."""
    projects = "attentions" in name and value.ndim == 2
    return value[:, :, None, None] if projects else value


def _motion_name(name: str) -> str:
    name = re.sub(r"(motion_modules\.\d)\.", r"\1.temporal_transformer.", name)
    name = name.replace("pos_embed.pe", "attention_blocks.0.pos_encoder.pe")
    for ours, theirs in MOTION_BLOCK.items():
        name = name.replace(f".{ours}.", f".{theirs}.")
    return name


def _save(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().clone().contiguous() for name, value in tensors.items()}, path)
    return path
