"""The T2I worker: every visit of a clip to the frame-wise model."""

# F frames of all clips of a call, H/W pixels, C latent channels, h/w latent cells

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from evs_batch.algo import evs
from evs_batch.models import loading, zoo
from evs_batch.models.families import FAMILIES
from evs_batch.models.hardware import Hardware, check_finite, pick_hardware
from evs_batch.models.parts import T2I, Scale, Vae, pad_sides, resize_latents
from evs_batch.spec.errors import RecipeError
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Artifact, Stage
from evs_batch.stages.item import Arrays, Item, Result, own_rows
from evs_batch.stages.noise import draw_noise


def load(recipe: Recipe, threads: int) -> "T2IRunner":
    """Load VAE, text encoder and T2I onto this process's device."""
    source = zoo.t2i_source(recipe.t2i.model)
    zoo.scheduler(source, recipe.t2i.steps)
    runtime, pickles = recipe.runtime, recipe.runtime.pickles
    hardware = pick_hardware(runtime, threads)
    vae = Vae(loading.load_vae(source, pickles), hardware, tiles=runtime.vae_tiles)
    family = FAMILIES[source.family]
    text = family.load_text(source, hardware, pickles)
    unet = loading.shared_unet(source, recipe.t2i.loras, hardware, pickles)
    t2i = T2I(
        unet,
        hardware,
        runtime.frames_per_forward,
        first_frame=recipe.t2i.attention == "first_frame",
        cache_interval=recipe.t2i.cache_interval,
        token_downsampling=recipe.t2i.token_downsampling,
        fp8=recipe.t2i.fp8 and runtime.precision != "fp32",
        call=family.call,
    )
    decoder = _load_decoder(recipe, source, vae, hardware) if recipe.t2i.decoder else vae
    return T2IRunner(recipe, source, vae, text, t2i, decoder, hardware.device)


def _load_decoder(recipe: Recipe, source: zoo.T2ISource, vae: Vae, hardware: Hardware) -> Vae:
    runtime, found = recipe.runtime, zoo.decoder_source(recipe.t2i.decoder, source)
    decoder = Vae(loading.load_decoder(found, runtime.pickles), hardware, tiles=runtime.vae_tiles)
    if (decoder.factor_px, decoder.channels) != (vae.factor_px, vae.channels):
        raise RecipeError(
            f"t2i.decoder={found.name!r}",
            f"must decode {vae.channels} channels of cells of {vae.factor_px} pixels, as t2i.model={source.name!r} has",
            "choose a decoder for these latents, or leave it out",
        )
    return decoder


@dataclass(frozen=True)
class T2IRunner:
    """Encode, refine, stop at the switch; or come back from it, refine to the end and decode.

    `vae` encodes, `decoder` decodes; they are one unless the recipe names a decoder.
    """

    recipe: Recipe
    source: zoo.T2ISource
    vae: Any
    text: Any
    t2i: Any
    decoder: Any
    device: torch.device

    def run(self, stage: Stage, items: list[Item], inputs: list[Arrays]) -> list[Result]:
        """Clips of one strength go through the model together."""
        results: dict[int, Result] = {}
        for strength in dict.fromkeys(item.clip.strength for item in items):
            alike = [at for at, item in enumerate(items) if item.clip.strength == strength]
            runner = replace(self, recipe=self.recipe.at(strength))
            made = runner._run(stage, [items[at] for at in alike], [inputs[at] for at in alike])
            results.update(zip(alike, made, strict=True))
        return [replace(results[at], forward_frames=self.t2i.forward_frames) for at in range(len(items))]

    def _run(self, stage: Stage, items: list[Item], inputs: list[Arrays]) -> list[Result]:
        x0_FChw = self._encode(inputs) if "frames" in stage.needs else self._joined(inputs, "x0")
        carried = self._joined(inputs, "eps") if "eps" in stage.needs else None
        bridge = self._refine(stage, items, x0_FChw, carried)
        check_finite("latents of T2I", bridge.x0_FChw)
        if "frames" in stage.gives:
            x0_FChw = torch.cat(own_rows(items, stage, bridge.x0_FChw))
            frames = self.decoder.decode(x0_FChw).split([len(item.own) for item in items])
            return [self._cropped(item, clip) for item, clip in zip(items, frames, strict=True)]
        mixed = self.recipe.t2v.entry == "mixed"
        eps_FChw = self._inverted(stage, items, bridge.x0_FChw) if mixed else bridge.eps_FChw
        made: dict[Artifact, list[Tensor]] = {
            "x0": own_rows(items, stage, bridge.x0_FChw.cpu()),
            "eps": own_rows(items, stage, eps_FChw.cpu()),
        }
        return [Result(arrays={name: made[name][at].numpy() for name in stage.gives}) for at in range(len(items))]

    def _refine(self, stage: Stage, items: list[Item], x0_FChw: Tensor, carried_FChw: Tensor | None) -> evs.Bridge:
        """Eq. 8 and 10 over the timesteps of this visit; none where only the VAE is wanted."""
        recipe = self.recipe
        scheduler = zoo.scheduler(self.source, recipe.t2i.steps)
        timesteps = evs.t2i_timesteps(scheduler, recipe.t2i_steps, recipe.switches, stage.visit)
        if len(timesteps) == 0:
            return evs.Bridge(x0_FChw, torch.zeros_like(x0_FChw))
        if carried_FChw is not None:
            eps_FChw = carried_FChw
        elif _start_mode(recipe, stage.visit) == "ddim":
            eps_FChw = self._inverted(stage, items, x0_FChw, (recipe.t2i_steps, *recipe.switches)[stage.visit])
        else:
            eps_FChw = draw_noise(items, stage, x0_FChw)
        guided = set(evs.tail(scheduler, recipe.t2i_steps)[: recipe.t2i.guided_steps].tolist())

        def guidance(t: Tensor) -> float:
            return recipe.t2i.guidance if t.item() in guided else 1.0

        return evs.refine(self._model(stage, items, guidance), scheduler, x0_FChw, eps_FChw, timesteps)

    def _inverted(self, stage: Stage, items: list[Item], x0_FChw: Tensor, steps: int | None = None) -> Tensor:
        """The noise that DDIM inversion over some of the steps finds, all that are run by default; no guidance."""
        scheduler = zoo.scheduler(self.source, self.recipe.t2i.steps)
        tail = evs.tail(scheduler, self.recipe.t2i_steps if steps is None else steps)
        return evs.invert(self._model(stage, items, lambda _: 1.0), scheduler, x0_FChw, tail)

    def _model(self, stage: Stage, items: list[Item], guidance: Scale) -> evs.Model:
        prompt = self.text([item.clip.prompt for item in items])
        negative = self.text([item.clip.negative_prompt for item in items])
        return self.t2i.prompted(prompt, negative, guidance, [len(item.rows(stage)) for item in items])

    def _encode(self, inputs: list[Arrays]) -> Tensor:
        multiple = self.vae.factor_px * self.t2i.multiple
        frames_FHW3 = torch.cat([pad_sides(torch.tensor(arrays["frames"]), multiple) for arrays in inputs])
        return resize_latents(self.vae.encode(frames_FHW3), self.recipe.t2i.upscale, self.t2i.multiple)

    def _joined(self, inputs: list[Arrays], name: Artifact) -> Tensor:
        return torch.cat([torch.tensor(arrays[name]) for arrays in inputs]).to(self.device)

    def _cropped(self, item: Item, frames_FHW3: Tensor) -> Result:
        height, width = self.recipe.output_size(item.known.height, item.known.width)
        assert height <= frames_FHW3.shape[1], "padding only adds"
        return Result(arrays={"frames": frames_FHW3[:, :height, :width].contiguous().numpy()})


def _start_mode(recipe: Recipe, visit: int) -> str:
    """How a visit gets its noise: the first one with steps enters T2I, later ones come back to it."""
    entering = visit == 0 or recipe.switches[visit - 1] == recipe.t2i_steps
    return recipe.t2i.entry if entering else recipe.t2i.reentry
