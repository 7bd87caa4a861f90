"""The tables of a recipe and their keys: default, range, meaning, and where a key comes from."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from evs_batch.spec.codecs import CODECS
from evs_batch.spec.errors import RecipeError

PAPER, RELEASE, OURS = "EVS, {}", "`{}` of the release", "evs-batch"
_MODEL = "name in the model zoo, path of a diffusers folder or of a checkpoint file, or hub id (owner/name@commit)"
_GUIDANCE = "classifier-free guidance; 1 turns it off"
_CFG = "Ho and Salimans 2022"


def key(default: Any, meaning: str, source: str = OURS, **limits: Any) -> Any:
    """One key of a table; `limits` are pydantic's (`ge`, `gt`, `le`, `max_length`)."""
    return Field(default, description=meaning, json_schema_extra={"source": source}, **limits)


class Lora(BaseModel, frozen=True, extra="forbid"):
    """Low-rank weights that are merged into a T2I; a bare string is its path."""

    path: str = Field(description="name in the model zoo, or a .safetensors file")
    weight: float = key(1.0, "how much of it is added", ge=-4, le=4)

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class T2I(BaseModel, frozen=True, extra="forbid"):
    """The text-to-image model and its noising and denoising, frame by frame."""

    model: str = key("tiny", _MODEL, RELEASE.format("idm_type"))
    steps: int = key(50, "T_I: DDIM steps of the whole schedule", PAPER.format("4.1"), ge=1, le=999)
    strength: float = key(
        0.4, "s_I: share of the schedule that is run", RELEASE.format("idm_inverse_strength"), gt=0, le=1
    )
    guidance: float = key(7.5, _GUIDANCE, _CFG, ge=1, le=50)
    upscale: float = key(
        1.0, "resize of the clean latents before noise is added", RELEASE.format("idm_type"), ge=0.25, le=4
    )
    entry: Literal["random", "ddim"] = key(
        "random", "noise at the start: fresh, or by DDIM inversion", RELEASE.format("idm_invert_mode")
    )
    reentry: Literal["random", "ddim", "ddim_step"] = key(
        "ddim_step", "noise after a T2V block: fresh, by DDIM inversion, or what z_t and x0 imply",
        RELEASE.format("idm_invert_mode_2"),
    )  # fmt: skip
    attention: Literal["self", "first_frame"] = key(
        "self", "whose keys and values a frame's self-attention sees: its own, or the first frame's",
        RELEASE.format("using_attn"),
    )  # fmt: skip
    loras: tuple[Lora, ...] = key((), "LoRAs to merge, with their weights", "Hu et al. 2022", max_length=8)
    decoder: str = key(
        "", "what decodes the last latents: name in the model zoo, path of a diffusers folder, or hub id; empty: the "
        "model's own; a small one is faster", "TAESD (Bohan 2023)",
    )  # fmt: skip
    guidance_stop: float = key(
        1.0, "share of the steps that are run after which there is no guidance; less is faster",
        "Kynkäänniemi et al. 2024", ge=0, le=1,
    )  # fmt: skip
    cache_interval: int = key(
        1, "the whole U-Net runs at every so many steps, its outermost layer at the others; more is faster",
        "DeepCache (Ma et al. 2024)", ge=1, le=50,
    )  # fmt: skip
    token_downsampling: int = key(
        1, "self-attention at the finest level takes its keys from every so many rows and columns; more is faster",
        "ToDo (Smith et al. 2024)", ge=1, le=8,
    )  # fmt: skip
    fp8: bool = key(
        False, "products of transformer blocks in 8 bits, for GPUs that have them (Ada, Hopper and newer); not "
        "where runtime.precision is fp32",
        "FP8 Formats (Micikevicius et al. 2022)",
    )  # fmt: skip

    @property
    def executed_steps(self) -> int:
        """N: the number of denoising steps that are run."""
        return round(self.steps * self.strength)

    @property
    def guided_steps(self) -> int:
        """How many of them have guidance: the first ones."""
        return round(self.executed_steps * self.guidance_stop) if self.guidance > 1 else 0


class T2V(BaseModel, frozen=True, extra="forbid"):
    """The text-to-video model and its encapsulated block."""

    model: str = key("tiny", f"{_MODEL}; of a motion module", RELEASE.format("vdm_type"))
    base: str = key(
        "", "T2I whose spatial layers it runs on; empty: those it was trained on", RELEASE.format("vdm_type")
    )
    steps: int = key(8, "T_V: steps of the whole schedule", PAPER.format("4.1"), ge=1, le=1000)
    strength: float = key(
        0.4, "share of the schedule that a block may use", RELEASE.format("vdm_inverse_strength"), gt=0, le=1
    )
    block_steps: int = key(2, "n_V: steps that a block runs", RELEASE.format("stable_num"), ge=1)
    switch_at: tuple[int, ...] | Literal["every"] = key(
        (8,), "T2I steps that remain after each block, in descending order; or a block after every step",
        RELEASE.format("stable_steps"),
    )  # fmt: skip
    switch_counts: Literal["remaining", "current"] = key(
        "remaining", "`current` counts the T2I step before the block too", "VideoElevator"
    )
    coupled: bool = key(
        False, "a block adds as much noise as T2I has where it goes on, instead of `strength`", "VideoElevator"
    )
    guidance: float = key(1.0, _GUIDANCE, _CFG, ge=1, le=50)
    entry: Literal["random", "ddim", "mixed"] = key(
        "random", "noise at the start: fresh, by DDIM inversion, or of both models' inversions",
        f"{RELEASE.format('vdm_invert_mode')}; BIVDiff",
    )  # fmt: skip
    mix: float = key(0.25, "share of T2I's inversion where entry is `mixed`", "BIVDiff", ge=0, le=1)
    bridge: Literal["latents", "pixels"] = key(
        "latents", "what passes between T2I and T2V; `pixels` decodes and encodes, where their autoencoders differ"
    )
    window: int = key(16, "frames that the motion module sees at once", "AnimateDiff", ge=2, le=32)
    overlap: int = key(8, "frames that neighbouring windows share", ge=0)
    scene_cut: float = key(
        10.0, "change between two frames, in % of white, that begins a new shot: no window crosses it; 100 finds none",
        gt=0, le=100,
    )  # fmt: skip
    context: int = key(
        32, "frames beyond a segment that T2V may see; 1, and `window` - 1 for each evaluation, leave no seam at all",
        ge=0, le=10_000,
    )  # fmt: skip

    @property
    def available_steps(self) -> int:
        """Steps that the strength gives; the block runs the first `block_steps` of them."""
        return round(self.steps * self.strength)


class Sfi(BaseModel, frozen=True, extra="forbid"):
    """Selective Feature Injection: T2V self-attention looks at features of the inverted video."""

    enabled: bool = key(False, "whether features are injected; needs t2v.entry = `ddim`", PAPER.format("Eq. 11"))
    layers: Literal["deep", "shallow", "all"] | tuple[str, ...] = key(
        "deep", "decoder layers: of the lowest resolution, of the highest, all, or by module name",
        PAPER.format("Figure 8"),
    )  # fmt: skip
    gamma: float = key(
        0.8, "share of the inverted query; 1 keeps most of the video", PAPER.format("Eq. 11"), ge=0, le=1
    )
    convolution: bool = key(False, "inject the feature of one decoder convolution too", PAPER.format("Algorithm 1"))
    memory_gb: float = key(
        8.0, "features that a worker keeps at once, on its device; fewer clips share a call", gt=0, le=1e6
    )


class Input(BaseModel, frozen=True, extra="forbid"):
    """What is done with sources that are not as models want them."""

    hdr: Literal["tone_map", "refuse"] = key(
        "tone_map", "PQ and HLG video: mapped to BT.709 (Mobius), or its row fails"
    )
    high_bit_depth: Literal["reduce", "refuse"] = key(
        "reduce", "more than 8 bits, but not HDR: models see 8 of them, or its row fails"
    )
    interlaced: Literal["deinterlace", "refuse"] = key(
        "deinterlace", "interlaced video: a frame for each two fields (bwdif), or its row fails"
    )


class Output(BaseModel, frozen=True, extra="forbid"):
    """How results are encoded."""

    container: Literal["mp4", "mov", "mkv", "zip"] = key("mp4", "file format; zip: of numbered pictures")
    codec: Literal["h264", "hevc", "av1", "vp9", "ffv1", "prores", "png"] = key(
        "h264", "video codec; ffv1 and png lose nothing"
    )
    encoder: Literal["software", "hardware"] = key(
        "software", "hardware: that of a GPU (NVENC, Quick Sync), where a worker has one; not the same bytes everywhere"
    )
    colour_match: Literal["none", "wavelet", "adain"] = key(
        "none", "give results the colours of their sources: coarse ones at each place, or mean and deviation of all"
    )
    previews: tuple[Literal["poster", "sheet", "side_by_side"], ...] = key(
        (),
        "a JPEG of the middle frame, a contact sheet, a clip of source and result, in `OUTPUT/previews`; none of zip",
    )
    preview_rows: int = key(1000, "how many rows, from the first one on, have previews", ge=0)
    unfit: Literal["refuse", "drop"] = key(
        "refuse", "sound and subtitles that the container cannot hold: their row fails, or they are left out"
    )
    preset: Literal["draft", "balanced", "archive"] = key("balanced", "how long the encoder takes to make files small")
    pixel_format: str = key("", "as FFmpeg names it, yuv420p10le for 10 bits; by default the codec's usual one")
    quality: int = key(
        14, "constant rate factor: lower is better and larger; up to 51, with av1 and vp9 to 63; ffv1 has none",
        "x264", ge=0, le=63,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check(self) -> "Output":
        codec = CODECS[self.codec]
        if self.container not in codec.containers:
            raise RecipeError(
                f"output.container={self.container!r}", f"cannot hold {self.codec}",
                f"set output.container = {codec.containers[0]!r}",
            )  # fmt: skip
        if self.pixel_format and self.pixel_format not in codec.pixels:
            raise RecipeError(
                f"output.pixel_format={self.pixel_format!r}", f"is none of {self.codec}'s",
                f"use one of {', '.join(codec.pixels)}",
            )  # fmt: skip
        if codec.lossy_to and self.quality > codec.lossy_to:
            raise RecipeError(
                f"output.quality={self.quality}", f"must be at most {codec.lossy_to} with {self.codec}", "lower it"
            )
        return self


class Runtime(BaseModel, frozen=True, extra="forbid"):
    """How the work is run; only precision, compile, frames_per_forward and vae_tiles change what a clip looks like.

    Nor does segment_frames, where t2v.context is large enough.
    """

    precision: Literal["bf16", "fp32"] = key(
        "bf16", "of the networks; bf16 becomes fp32 on processors that would be slower in bf16"
    )
    offload: Literal["none", "models", "layers"] = key(
        "none", "what rests in the CPU's memory until it is used, for small GPUs: nothing, networks, or single layers"
    )
    compile: Literal["off", "static", "dynamic"] = key(
        "off", "compile the blocks of the networks: for each size of pictures again, or once for all, a little slower"
    )
    compile_cache: str = key(
        "", "folder of compiled code, for later runs, and for all nodes if they share it; empty: one of this user's"
    )
    vae_tiles: bool = key(
        False, "the autoencoder works tile by tile, which shows at most faintly: for pictures that fit no other way"
    )
    workers: int = key(
        0, "workers of models that an autoscaler is asked for, and that are used at most; 0: as many as fit", ge=0
    )
    media_workers: int = key(
        0, "most workers that decode and encode, each on a core; fewer are started if models need fewer. 0: half the "
        "cores, or without a GPU one for two workers of models", ge=0,
    )  # fmt: skip
    gpus_per_worker: float = key(
        0.0, "GPUs of one worker, which holds both models; 0.5: two share one; 0: one if there are any at the start",
        ge=0, le=1,
    )  # fmt: skip
    labels: tuple[Annotated[str, Field(pattern=r"^[^=]+=[^=]+$")], ...] = key(
        (), "labels, as in `ray start --labels key=value`, that a node must have for workers of the models"
    )
    batch_frames: int = key(64, "frames of one call, of several clips", ge=1)
    frames_per_forward: int = key(
        16, "frames of one T2I forward pass, always this many; where they do not fit, half as many, and so on", ge=1
    )
    segment_frames: int = key(64, "frames of a segment: longer clips are cut, so that any length fits in memory", ge=1)
    max_wait_s: float = key(0.5, "how long an idle worker waits for a full call", ge=0)
    memory_gb: float = key(4.0, "pixels and latents in flight, of each node", gt=0, le=1e6)
    storage: tuple[Annotated[str, Field(pattern=r"^[a-z0-9]+\.\w+=.+$")], ...] = key(
        (), "options of fsspec's storages, as `s3.endpoint_url=http://host:9000`; with `sftp.password=$NAME` every "
        "process reads NAME in its environment",
    )  # fmt: skip
    max_attempts: int = key(3, "tries of one clip before it fails", ge=1)
    pickles: tuple[str, ...] = key(
        (), "names of pickle files that may be read as weights: they can run programs", max_length=16
    )
    timeout_s: float = key(
        0.0, "a call that takes longer is ended with its worker, and its clips are tried again; 0: 50 times the usual "
        "time of such a call, at least a minute", ge=0,
    )  # fmt: skip
    stall_s: float = key(1800.0, "a run without progress for so long is ended", gt=0)
