"""The T2I worker: every visit of a clip to the frame-wise model."""

# F frames of all clips of a call, H/W pixels, C latent channels, h/w latent cells

import torch
from torch import Tensor

from evs_batch.algo import evs
from evs_batch.models import loading, zoo
from evs_batch.models.hardware import pick_hardware
from evs_batch.models.parts import T2I, TextEncoder, Vae, pad_sides, resize_latents
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Artifact, Stage
from evs_batch.stages.item import Arrays, Item, Result
from evs_batch.stages.noise import draw_noise


class T2IRunner:
    """Encode, refine, stop at the switch; or come back from it, refine to the end and decode."""

    def __init__(self, recipe: Recipe, threads: int) -> None:
        self._recipe, self._source = recipe, zoo.t2i_source(recipe.t2i.model)
        hardware = pick_hardware(recipe.runtime.precision, threads)
        frames = recipe.runtime.frames_per_forward
        self._vae = Vae(loading.load_vae(self._source.folder), hardware, frames)
        self._text = TextEncoder(*loading.load_text(self._source.folder), hardware)
        self._t2i = T2I(loading.load_unet(self._source.folder), hardware, frames)

    def run(self, stage: Stage, items: list[Item], inputs: list[Arrays]) -> list[Result]:
        lengths = [item.known.frames for item in items]
        x0_FChw = self._encode(inputs) if "frames" in stage.needs else _joined(inputs, "x0")
        eps_FChw = _joined(inputs, "eps") if "eps" in stage.needs else draw_noise(items, stage, x0_FChw)
        bridge = evs.refine(
            self._model(items), zoo.scheduler(self._source, self._recipe.t2i.steps), x0_FChw, eps_FChw,
            self._timesteps(stage.visit),
        )  # fmt: skip
        if "frames" in stage.gives:
            frames = self._vae.decode(bridge.x0_FChw).split(lengths)
            return [self._cropped(item, clip) for item, clip in zip(items, frames, strict=True)]
        made: dict[Artifact, tuple[Tensor, ...]] = {
            "x0": bridge.x0_FChw.split(lengths),
            "eps": bridge.eps_FChw.split(lengths),
        }
        return [Result(arrays={n: made[n][i].cpu().numpy() for n in stage.gives}) for i in range(len(items))]

    def _timesteps(self, visit: int) -> Tensor:
        recipe = self._recipe
        if recipe.composition == "VAE":
            return torch.empty(0)
        grid = evs.start(zoo.scheduler(self._source, recipe.t2i.steps), recipe.t2i.executed_steps)
        return evs.segments(grid, recipe.switches)[visit]

    def _model(self, items: list[Item]) -> evs.Model:
        repeats = torch.tensor([item.known.frames for item in items])
        prompt = self._text([item.clip.prompt for item in items]).repeat_interleave(repeats, 0)
        negative = self._text([item.clip.negative_prompt for item in items]).repeat_interleave(repeats, 0)
        return self._t2i.prompted(prompt, negative, self._recipe.t2i.guidance)

    def _encode(self, inputs: list[Arrays]) -> Tensor:
        multiple = self._vae.factor_px * self._t2i.multiple
        frames_FHW3 = torch.cat([pad_sides(torch.tensor(arrays["frames"]), multiple) for arrays in inputs])
        return resize_latents(self._vae.encode(frames_FHW3), self._recipe.t2i.upscale, self._t2i.multiple)

    def _cropped(self, item: Item, frames_FHW3: Tensor) -> Result:
        height, width = self._recipe.output_size(item.known.height, item.known.width)
        return Result(arrays={"frames": frames_FHW3[:, :height, :width].contiguous().numpy()})


def _joined(inputs: list[Arrays], name: Artifact) -> Tensor:
    return torch.cat([torch.tensor(arrays[name]) for arrays in inputs])
