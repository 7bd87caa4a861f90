"""The model zoo: which files and which noise schedule a model name means. Nothing heavy is imported."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evs_batch.models.places import Download, Hub, Local, Place, latent_factor_px, locate
from evs_batch.models.schedules import LCM, LIGHTNING, MOTION_DDIM, SD_DDIM, Schedule, divided
from evs_batch.spec.errors import ModelError, RecipeError, nearest

if TYPE_CHECKING:
    from evs_batch.algo.evs import Scheduler

TINY = Path(__file__).parents[1] / "tiny" / "weights"


@dataclass(frozen=True, kw_only=True)
class T2ISource:
    """A T2I: a diffusers folder with vae, text_encoder, tokenizer and unet, or one file in Stable Diffusion's layout.

    `tokenizer` and `vae` are folders that have such a part, where it is not in the weights or another one is better.
    """

    name: str
    weights: Place
    tokenizer: Place | None = None
    vae: Place | None = None
    loras: tuple[tuple[Place, float], ...] = ()
    latent_factor_px: int = 8
    family: str = "sd1"
    schedule: Schedule = SD_DDIM

    @property
    def wanted(self) -> str:
        """What `evs-batch models fetch` is given for it."""
        return self.name

    @property
    def places(self) -> tuple[Place, ...]:
        """All that must be on this machine."""
        return _given(self.weights, self.tokenizer, self.vae, *(place for place, _ in self.loras))


@dataclass(frozen=True, kw_only=True)
class T2VSource:
    """A motion module (a diffusers folder, or a file in either layout) and the T2I whose spatial layers it runs on."""

    name: str
    base: T2ISource
    motion: Place
    loras: tuple[tuple[Place, float], ...] = ()
    schedule: Schedule = MOTION_DDIM

    @property
    def wanted(self) -> str:
        """What `evs-batch models fetch` is given for it."""
        return self.name if self.name in T2V_MODELS else f"--role t2v {self.name}"

    @property
    def spatial(self) -> T2ISource:
        """The base with the LoRAs that this motion module was trained with."""
        return replace(self.base, loras=(*self.base.loras, *self.loras))

    @property
    def places(self) -> tuple[Place, ...]:
        """All that must be on this machine; of the base, its autoencoder is not used."""
        return _given(self.base.weights, self.base.tokenizer, self.motion, *(place for place, _ in self.loras))


@dataclass(frozen=True, kw_only=True)
class DecoderSource:
    """An autoencoder of which the decoder alone is used, on latents of one family; "" where nobody says which."""

    name: str
    weights: Place
    family: str = ""

    @property
    def wanted(self) -> str:
        """What `evs-batch models fetch` is given for it."""
        return self.name if self.name in DECODERS else f"--role decoder {self.name}"

    @property
    def places(self) -> tuple[Place, ...]:
        """All that must be on this machine."""
        return (self.weights,)


Entry = T2ISource | T2VSource | DecoderSource | Place


def _given(*places: Place | None) -> tuple[Place, ...]:
    return tuple(place for place in places if place)


_SD_FILES = (
    "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json", "text_encoder/model.safetensors",
    "tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer/tokenizer_config.json",
)  # fmt: skip
_MODEL_FILES = ("config.json", "diffusion_pytorch_model.safetensors")
_RAIL = "creativeml-openrail-m"
_SD = Hub(
    repo="stable-diffusion-v1-5/stable-diffusion-v1-5", revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
    files=_SD_FILES, licence=_RAIL, gigabytes=4.3,
)  # fmt: skip
_EP = Hub(
    repo="emilianJR/epiCRealism", revision="6522cf856b8c8e14638a0aaa7bd89b1b098aed17",
    files=_SD_FILES, licence=_RAIL, gigabytes=4.3,
)  # fmt: skip
_RV = Download(
    file="realisticVisionV60B1_v51VAE.safetensors", page="https://civitai.com/models/4201", licence=_RAIL, gigabytes=2.1
)
_WATERCOLOR = Download(
    file="watercolor.safetensors", page="wherever the LoRA of your choice is (the release names none)"
)
_SDXL = Hub(
    repo="stabilityai/stable-diffusion-xl-base-1.0", revision="462165984030d82259a11f4367a4eed129e94a7b",
    files=(
        *_SD_FILES, "text_encoder_2/config.json", "text_encoder_2/model.safetensors",
        "tokenizer_2/vocab.json", "tokenizer_2/merges.txt", "tokenizer_2/tokenizer_config.json",
    ),
    licence="openrail++", gigabytes=13.9,
)  # fmt: skip
_LCM_REPO = "wangfuyun/AnimateLCM"
_LCM_REVISION = "6cdc714205bbc04c3b2031ee63725cd6e54dbe56"

T2I_MODELS: Mapping[str, T2ISource] = {
    "tiny": T2ISource(name="tiny", weights=Local(TINY), latent_factor_px=4, family="tiny"),
    "SD": T2ISource(name="SD", weights=_SD),
    "EP": T2ISource(name="EP", weights=_EP),
    "RV": T2ISource(name="RV", weights=_RV, tokenizer=_SD),
    "watercolor": T2ISource(name="watercolor", weights=_SD, loras=((_WATERCOLOR, 1.0),)),
    "SDXL": T2ISource(name="SDXL", weights=_SDXL, family="sdxl"),
}


def _lightning(base: str, steps: int, name: str) -> T2VSource:
    file = f"animatediff_lightning_{steps}step_diffusers.safetensors"
    motion = Hub(
        repo="ByteDance/AnimateDiff-Lightning", revision="027c893eec01df7330f5d4b733bc9485ee02e8b2",
        file=file, licence=_RAIL, gigabytes=0.9,
    )  # fmt: skip
    return T2VSource(name=name, base=T2I_MODELS[base], motion=motion, schedule=LIGHTNING)


def _animatediff(version: int, name: str, revision: str = "main") -> T2VSource:
    repo = f"guoyww/animatediff-motion-adapter-v1-5-{version}"
    motion = Hub(repo=repo, revision=revision, files=_MODEL_FILES, gigabytes=1.8)
    return T2VSource(name=name, base=T2I_MODELS["SD"], motion=motion)


T2V_MODELS: Mapping[str, T2VSource] = {
    "tiny": T2VSource(name="tiny", base=T2I_MODELS["tiny"], motion=Local(TINY / "motion")),
    "tiny-lightning": T2VSource(name="tiny-lightning", base=T2I_MODELS["tiny"], motion=Local(TINY / "motion_few")),
    **{name: _lightning(name.removeprefix("lightning"), 8, name) for name in ("lightningEP", "lightningSD")},
    **{
        name: _lightning(base, steps, name)
        for base in ("EP", "SD")
        for steps in (1, 2, 4)
        if (name := f"lightning{base}-{steps}step")
    },
    "animatelcm": T2VSource(
        name="animatelcm",
        base=T2I_MODELS["SD"],
        motion=Hub(repo=_LCM_REPO, revision=_LCM_REVISION, files=_MODEL_FILES, licence="mit", gigabytes=1.8),
        loras=((Hub(repo=_LCM_REPO, revision=_LCM_REVISION, file="AnimateLCM_sd15_t2v_lora.safetensors"), 0.8),),
        schedule=LCM,
    ),
    "animatediff-sdxl": T2VSource(
        name="animatediff-sdxl",
        base=T2I_MODELS["SDXL"],
        motion=Hub(
            repo="guoyww/animatediff-motion-adapter-sdxl-beta",
            revision="26c864717b4d4b002bb48ae6c9d6bb431548c6cb",
            files=_MODEL_FILES,
            gigabytes=0.9,
        ),
    ),
    "animatediff-v2": _animatediff(2, "animatediff-v2", "6167b88ffe39b4441fdf2113e77b99a6f56b7906"),
    "animatediff-v3": _animatediff(3, "animatediff-v3"),
}

LORAS: Mapping[str, Place] = {
    "tiny-watercolor": Local(TINY / "watercolor" / "pytorch_lora_weights.safetensors"),
    "watercolor": _WATERCOLOR,
}

_TAESD = Hub(
    repo="madebyollin/taesd", revision="614f76814bbe30edbe2e627ace1c2234c81a2c0e",
    files=_MODEL_FILES, licence="mit", gigabytes=0.01,
)  # fmt: skip
DECODERS: Mapping[str, DecoderSource] = {
    "tiny-decoder": DecoderSource(name="tiny-decoder", weights=Local(TINY / "decoder"), family="tiny"),
    "TAESD": DecoderSource(name="TAESD", weights=_TAESD, family="sd1"),
}

_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?")


def t2i_source(name: str) -> T2ISource:
    """A T2I by name, by the path of a folder or file, or by hub id; raises ModelError with the nearest name."""
    if name in T2I_MODELS:
        return T2I_MODELS[name]
    place = _place("t2i.model", name, _SD_FILES, T2I_MODELS)
    alone = isinstance(place, Local) and place.path.is_file()
    return T2ISource(
        name=name, weights=place, tokenizer=_SD if alone else None, latent_factor_px=latent_factor_px(place)
    )


def t2v_source(name: str, base: str = "") -> T2VSource:
    """A T2V by name, path or hub id of its motion module, on the spatial layers of `base` if that is given."""
    found = T2V_MODELS.get(name)
    if found is None:
        motion = _place("t2v.model", name, _MODEL_FILES, T2V_MODELS)
        found = T2VSource(name=name, base=T2I_MODELS["SD"], motion=motion)
    return replace(found, base=t2i_source(base)) if base else found


def decoder_source(name: str, of: T2ISource) -> DecoderSource:
    """A decoder for a T2I's latents, by name, path or hub id; raises RecipeError if it is made for other latents."""
    found = DECODERS.get(name) or _decoder(name)
    if of.name in T2I_MODELS and found.family not in ("", of.family):  # of a path nobody knows it
        alike = [other.name for other in DECODERS.values() if other.family == of.family]
        raise RecipeError(
            f"t2i.decoder={name!r}", f"must decode latents of the family {of.family} of t2i.model={of.name!r}",
            f"set t2i.decoder = {alike[0]!r}" if alike else "leave it out",
        )  # fmt: skip
    return found


def lora_place(name: str) -> Place:
    """A LoRA of the zoo by its name, or a file by its path; raises ModelError if there is neither."""
    if name not in LORAS and not Path(name).is_file():
        raise ModelError(f"t2i.loras={name!r}", "neither in the model zoo nor a file", nearest(name, LORAS))
    return LORAS.get(name, Local(Path(name).absolute()))


def named(name: str, role: str = "") -> list[Entry]:
    """All that a name means in the zoo, or what it means in one role; a path or hub id is a T2I if no role is given."""
    if role not in ("", *ROLES):
        raise ModelError(f"--role {role}", f"must be one of {', '.join(ROLES)}", "change it or leave it out")
    found = [table[name] for of, (table, _) in ROLES.items() if role in ("", of) and name in table]
    return found or [ROLES[role or "t2i"][1](name)]


def places(entry: Entry) -> tuple[Place, ...]:
    """All that must be on this machine for a model or a LoRA."""
    return (entry,) if isinstance(entry, Place) else entry.places


def locate_all(entry: Entry) -> list[Path]:
    """Where all of it is; raises ModelError for the first place that is empty."""
    return [locate(place, wanted(entry)) for place in places(entry)]


def wanted(entry: Entry) -> str:
    """What `evs-batch models fetch` is to be told."""
    return f"--role lora {entry}" if isinstance(entry, Place) else entry.wanted


def check_pair(t2i: T2ISource, t2v: T2VSource, bridge: str) -> None:
    """Models of two families have two autoencoders; raises RecipeError if latents were to pass between them."""
    if t2i.family != t2v.base.family and bridge == "latents":
        raise RecipeError(
            f"t2i.model={t2i.name!r} with t2v.model={t2v.name!r}", "do not share an autoencoder",
            "set t2v.bridge = 'pixels', or choose a pair of one family",
        )  # fmt: skip


def scheduler(source: T2ISource | T2VSource, steps: int) -> "Scheduler":
    """A fresh scheduler whose timesteps are set; raises RecipeError for a number of steps that it cannot divide."""
    return divided(source.schedule, steps)


def _decoder(name: str) -> DecoderSource:
    return DecoderSource(name=name, weights=_place("t2i.decoder", name, _MODEL_FILES, DECODERS))


ROLES: Mapping[str, tuple[Mapping[str, Entry], Callable[[str], Entry]]] = {
    "t2i": (T2I_MODELS, t2i_source),
    "t2v": (T2V_MODELS, t2v_source),
    "decoder": (DECODERS, _decoder),
    "lora": (LORAS, lora_place),
}


def _place(key: str, name: str, files: tuple[str, ...], table: Mapping[str, object]) -> Place:
    if Path(name).exists():
        return Local(Path(name).absolute())
    if found := _HUB_ID.fullmatch(name):
        return Hub(repo=found["repo"], revision=found["revision"] or "main", files=files)
    raise ModelError(f"{key}={name!r}", "neither in the model zoo, nor a path, nor a hub id", nearest(name, table))
