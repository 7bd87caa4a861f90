"""The T2V worker: the encapsulated block that makes frames agree."""

import torch

from evs_batch.algo import evs
from evs_batch.models import loading, zoo
from evs_batch.models.hardware import pick_hardware
from evs_batch.models.parts import T2V, TextEncoder
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Stage
from evs_batch.stages.item import Arrays, Item, Result
from evs_batch.stages.noise import draw_noise


class T2VRunner:
    """Noise the predicted clean latents, run a few steps over windows of frames, hand clean latents back."""

    def __init__(self, recipe: Recipe, threads: int) -> None:
        self._recipe, self._source = recipe, zoo.t2v_source(recipe.t2v.model)
        hardware = pick_hardware(recipe.runtime.precision, threads)
        self._text = TextEncoder(*loading.load_text(self._source.base.folder), hardware)
        self._t2v = T2V(loading.load_motion_unet(self._source), hardware)

    def run(self, stage: Stage, items: list[Item], inputs: list[Arrays]) -> list[Result]:
        t2v, lengths = self._recipe.t2v, [item.known.frames for item in items]
        x0_FChw = torch.cat([torch.tensor(arrays["x0"]) for arrays in inputs])
        scheduler = zoo.scheduler(self._source, t2v.steps)
        model = self._t2v.prompted(
            self._text([item.clip.prompt for item in items]),
            self._text([item.clip.negative_prompt for item in items]),
            t2v.guidance, lengths, t2v.window, t2v.overlap,
        )  # fmt: skip
        timesteps = evs.start(scheduler, t2v.available_steps)[: t2v.block_steps]
        x0_FChw = evs.stabilise(model, scheduler, x0_FChw, draw_noise(items, stage, x0_FChw), timesteps)
        return [Result(arrays={"x0": clip.cpu().numpy()}) for clip in x0_FChw.split(lengths)]
