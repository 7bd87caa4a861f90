"""The T2V worker: the encapsulated block that makes frames agree."""

import logging
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from evs_batch.algo import evs
from evs_batch.models import loading, zoo
from evs_batch.models.bridge import PixelBridge
from evs_batch.models.families import FAMILIES
from evs_batch.models.hardware import Hardware, check_finite, pick_hardware
from evs_batch.models.parts import T2V, Vae, side_multiple
from evs_batch.models.sfi import Injection
from evs_batch.spec.errors import RecipeError
from evs_batch.spec.recipe import Recipe
from evs_batch.spec.work import Artifact, Stage
from evs_batch.stages.item import Arrays, Item, Result, own_rows
from evs_batch.stages.noise import draw_noise, renoise_generators
from evs_batch.stages.plan import Plan, Windows, plan

log = logging.getLogger(__name__)


def load(recipe: Recipe, threads: int) -> "T2VRunner":
    """Load text encoder and T2V onto this process's device; raises RecipeError if window or pair do not fit."""
    source = zoo.t2v_source(recipe.t2v.model, recipe.t2v.base)
    zoo.check_pair(zoo.t2i_source(recipe.t2i.model), source, recipe.t2v.bridge)
    zoo.scheduler(source, recipe.t2v.steps)
    runtime, pickles, sfi = recipe.runtime, recipe.runtime.pickles, recipe.sfi
    hardware = pick_hardware(runtime, threads)
    spatial = loading.shared_unet(source.spatial, (), hardware, pickles)
    unet = loading.load_motion_unet(source, spatial, pickles)
    injection = Injection(unet, sfi.layers, sfi.gamma, sfi.convolution) if sfi.enabled else None
    family = FAMILIES[source.base.family]
    t2v = T2V(unet, hardware, injection, spatial, family.call)
    if recipe.t2v.window > t2v.max_window:
        raise RecipeError(
            f"t2v.window={recipe.t2v.window}", f"this motion module sees at most {t2v.max_window} frames", "lower it"
        )
    text = family.load_text(source.base, hardware, pickles)
    bridge = _load_bridge(recipe, source, hardware, side_multiple(unet)) if recipe.t2v.bridge == "pixels" else None
    return T2VRunner(recipe, source, text, t2v, hardware.device, bridge)


def _load_bridge(recipe: Recipe, source: zoo.T2VSource, hardware: Hardware, multiple: int) -> PixelBridge:
    runtime = recipe.runtime

    def vae(of: zoo.T2ISource) -> Vae:
        return Vae(loading.load_vae(of, runtime.pickles), hardware, tiles=runtime.vae_tiles)

    return PixelBridge(vae(zoo.t2i_source(recipe.t2i.model)), vae(source.base), multiple)


@dataclass(frozen=True)
class T2VRunner:
    """Noise the predicted clean latents, run a few steps over windows of frames, hand clean latents back."""

    recipe: Recipe
    source: zoo.T2VSource
    text: Any
    t2v: Any
    device: torch.device
    bridge: PixelBridge | None = None

    def run(self, stage: Stage, items: list[Item], inputs: list[Arrays]) -> list[Result]:
        visit = self._visit(stage)
        plans = [
            plan(self.recipe, stage, item, arrays["cuts"], visit.inverted, visit.timesteps)
            for item, arrays in zip(items, inputs, strict=True)
        ]
        results = []
        for group in self._groups(items, inputs, plans):
            chosen = [items[at] for at in group]
            results += self._run(stage, visit, chosen, [inputs[at] for at in group], [plans[at] for at in group])
        return results

    def _visit(self, stage: Stage) -> "Visit":
        scheduler = zoo.scheduler(self.source, self.recipe.t2v.steps)
        available = self._available_steps(scheduler, stage.visit)
        tail = evs.tail(scheduler, available)
        return Visit(
            inverted=tail[:0] if self.recipe.t2v.entry == "random" else tail,
            timesteps=evs.block_timesteps(scheduler, available, self.recipe.t2v_steps),
        )

    def _groups(self, items: list[Item], inputs: list[Arrays], plans: list[Plan]) -> list[list[int]]:
        """Clips that go through the model together: all, but for features that must be kept and would not fit."""
        injection, budget_bytes = self.t2v.injection, self.recipe.sfi.memory_gb * 1e9
        if not injection:
            return [list(range(len(items)))]
        groups, held = [], budget_bytes
        for at, arrays in enumerate(inputs):
            needed = self._feature_bytes(plans[at], arrays["x0"].shape)
            if needed > budget_bytes:
                raise _features_too_large(items[at], needed, budget_bytes)
            if held + needed > budget_bytes:
                groups.append([])
                held = 0
            groups[-1].append(at)
            held += needed
        level = logging.INFO if len(groups) > 1 else logging.DEBUG
        log.log(level, "SFI on %d clips in %d groups, %.0f MB in the last", len(items), len(groups), held / 1e6)
        return groups

    def _feature_bytes(self, windows: Plan, shape: tuple[int, ...]) -> int:
        """What SFI keeps of a clip whose latents have this shape: every window at every step that runs."""
        height, width = self.bridge.size(*shape[2:]) if self.bridge else shape[2:]
        kept = sum(len(windows.inversion[t]) for t in windows.block)
        return kept * self.t2v.injection.window_bytes(self.recipe.t2v.window, height, width)

    def _run(
        self, stage: Stage, visit: "Visit", items: list[Item], inputs: list[Arrays], plans: list[Plan]
    ) -> list[Result]:
        t2v, injection = self.recipe.t2v, self.t2v.injection
        x0_FChw = self._joined(inputs, "x0")
        size = x0_FChw.shape[-2:]
        if self.bridge:
            x0_FChw = self.bridge.into(x0_FChw)
        scheduler, lengths = zoo.scheduler(self.source, t2v.steps), [len(arrays["x0"]) for arrays in inputs]
        if t2v.entry == "random":
            eps_FChw = draw_noise(items, stage, x0_FChw)
        else:
            model = self._model(items, 1.0, [windows.inversion for windows in plans], lengths)
            with injection.record(visit.timesteps) if injection else nullcontext():
                eps_FChw = evs.invert(model, scheduler, x0_FChw, visit.inverted)
        if t2v.entry == "mixed":
            eps_FChw = torch.lerp(eps_FChw, self._joined(inputs, "eps"), t2v.mix)
        model = self._model(items, t2v.guidance, [windows.block for windows in plans], lengths)
        renoise = renoise_generators(items, stage)
        with injection.inject() if injection else nullcontext():
            x0_FChw = evs.stabilise(model, scheduler, x0_FChw, eps_FChw, visit.timesteps, renoise)
        check_finite("latents of T2V", x0_FChw)
        own_FChw = torch.cat(own_rows(items, stage, x0_FChw))
        if self.bridge:
            own_FChw = self.bridge.back(own_FChw, *size)
        return [Result(arrays={"x0": x0.numpy()}) for x0 in own_FChw.cpu().split([len(item.own) for item in items])]

    def _available_steps(self, scheduler: evs.Scheduler, visit: int) -> int:
        """How many steps a block has: by its strength, or by the noise that T2I has when it goes on."""
        if not self.recipe.t2v.coupled:
            return self.recipe.t2v.available_steps
        t2i = zoo.scheduler(zoo.t2i_source(self.recipe.t2i.model), self.recipe.t2i.steps)
        return evs.coupled_steps(t2i, self.recipe.switches[visit], scheduler)

    def _joined(self, inputs: list[Arrays], name: Artifact) -> torch.Tensor:
        return torch.cat([torch.tensor(arrays[name]) for arrays in inputs]).to(self.device)

    def _model(self, items: list[Item], guidance: float, windows: list[Windows], lengths: list[int]) -> evs.Model:
        prompt = self.text([item.clip.prompt for item in items])
        negative = self.text([item.clip.negative_prompt for item in items])
        return self.t2v.prompted(prompt, negative, guidance, [of_clip.__getitem__ for of_clip in windows], lengths)


@dataclass(frozen=True, kw_only=True)
class Visit:
    """The timesteps of one visit to T2V: of the inversion, if there is one, and of the block."""

    inverted: torch.Tensor
    timesteps: torch.Tensor


def _features_too_large(item: Item, needed_bytes: float, budget_bytes: float) -> RecipeError:
    return RecipeError(
        f"SFI on {len(item.own)} frames of clip {item.clip.id}",
        f"keeps {needed_bytes / 1e9:.2f} GB of features: must be at most {budget_bytes / 1e9:.2f}",
        "raise sfi.memory_gb, choose fewer sfi.layers, or lower t2v.block_steps or runtime.segment_frames",
    )
