"""The tables of a recipe and their keys; a description and a range stand at each."""

from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

MODEL = "name in the model zoo, path of a diffusers folder or of a checkpoint file, or hub id"
Entry = Literal["random", "ddim"]


class Lora(BaseModel, frozen=True, extra="forbid"):
    """Low-rank weights that are merged into a T2I; a bare string is its path."""

    path: str = Field(description="name in the model zoo, or a .safetensors file")
    weight: float = Field(default=1.0, ge=-4, le=4)

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class T2I(BaseModel, frozen=True, extra="forbid"):
    """The text-to-image model and its noising and denoising, frame by frame."""

    model: str = Field(default="tiny", description=MODEL)
    steps: int = Field(default=50, ge=1, le=999, description="T_I: DDIM steps of the whole schedule")
    strength: float = Field(default=0.4, gt=0, le=1, description="share of the schedule that is run")
    guidance: float = Field(default=7.5, ge=1, le=50, description="classifier-free guidance; 1 turns it off")
    upscale: float = Field(default=1.0, ge=0.25, le=4, description="resize of the clean latents before noise is added")
    entry: Entry = Field(default="random", description="noise at the start: fresh, or by DDIM inversion")
    reentry: Literal["random", "ddim", "ddim_step"] = Field(
        default="ddim_step", description="noise after a T2V block: fresh, by DDIM inversion, or what z_t and x0 imply"
    )
    attention: Literal["self", "first_frame"] = Field(
        default="self", description="whose keys and values a frame's self-attention sees: its own, or the first frame's"
    )
    loras: tuple[Lora, ...] = Field(default=(), max_length=8, description="LoRAs to merge, with their weights")

    @property
    def executed_steps(self) -> int:
        """N: the number of denoising steps that are run."""
        return round(self.steps * self.strength)


class T2V(BaseModel, frozen=True, extra="forbid"):
    """The text-to-video model and its encapsulated block."""

    model: str = Field(default="tiny", description=f"{MODEL}; of a motion module")
    base: str = Field(default="", description="T2I whose spatial layers it runs on; default: those it was trained on")
    steps: int = Field(default=8, ge=1, le=1000, description="T_V: steps of the whole schedule")
    strength: float = Field(default=0.4, gt=0, le=1, description="share of the schedule that the block may use")
    block_steps: int = Field(default=2, ge=1, description="n_V: steps that the block runs")
    switch_at: tuple[int, ...] | Literal["every"] = Field(
        default=(8,),
        description="T2I steps that remain after each block, in descending order; or a block after every step",
    )
    switch_counts: Literal["remaining", "current"] = Field(
        default="remaining", description="`current` counts the T2I step before the block too, as VideoElevator does"
    )
    coupled: bool = Field(
        default=False,
        description="a block adds as much noise as T2I has when it goes on (VideoElevator), not `strength`",
    )
    guidance: float = Field(default=1.0, ge=1, le=50, description="classifier-free guidance; 1 turns it off")
    entry: Literal["random", "ddim", "mixed"] = Field(
        default="random",
        description="noise at the start: fresh, by DDIM inversion, or of both models' inversions (BIVDiff)",
    )
    mix: float = Field(default=0.25, ge=0, le=1, description="share of T2I's inversion where entry is `mixed`")
    window: int = Field(default=16, ge=2, le=32, description="frames that the motion module sees at once")
    overlap: int = Field(default=8, ge=0, description="frames that neighbouring windows share")

    @property
    def available_steps(self) -> int:
        """Steps that the strength gives; the block runs the first `block_steps` of them."""
        return round(self.steps * self.strength)


class Sfi(BaseModel, frozen=True, extra="forbid"):
    """Selective Feature Injection (Eq. 11): T2V self-attention looks at features of the inverted video."""

    enabled: bool = False
    layers: Literal["deep", "shallow", "all"] | tuple[str, ...] = Field(
        default="deep", description="decoder layers: of the lowest resolution, of the highest, all, or by module name"
    )
    gamma: float = Field(default=0.8, ge=0, le=1, description="share of the inverted query; 1 keeps most of the video")
    convolution: bool = Field(default=False, description="inject the feature of one decoder convolution too")
    memory_gb: float = Field(
        default=8.0,
        gt=0,
        le=1e6,
        description="features that a worker keeps at once, on its device; fewer clips share a call",
    )


class Output(BaseModel, frozen=True, extra="forbid"):
    """How results are encoded."""

    container: Literal["mp4"] = "mp4"
    codec: Literal["h264"] = "h264"
    quality: int = Field(default=14, ge=0, le=51, description="constant rate factor: lower is better and larger")


class Runtime(BaseModel, frozen=True, extra="forbid"):
    """How the work is run; nothing here changes what a clip looks like, but precision and frames_per_forward."""

    precision: Literal["bf16", "fp32"] = Field(
        default="bf16", description="of the networks; bf16 becomes fp32 on processors that would be slower in bf16"
    )
    batch_frames: int = Field(default=64, ge=1, description="frames of one call, of several clips")
    frames_per_forward: int = Field(default=16, ge=1, description="frames of one T2I forward pass, always this many")
    max_wait_s: float = Field(default=0.5, ge=0, description="how long an idle worker waits for a full call")
    memory_gb: float = Field(default=4.0, gt=0, le=1e6, description="pixels and latents in flight")
    max_attempts: int = Field(default=3, ge=1, description="tries of one clip before it fails")
    pickles: tuple[str, ...] = Field(
        default=(),
        max_length=16,
        description="names of pickle files that may be read as weights: they can run programs",
    )
    stall_s: float = Field(default=1800.0, gt=0, description="a run without progress for so long is ended")
