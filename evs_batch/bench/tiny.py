"""How well the tiny family enhances clips that it never saw, against their clean originals."""

from collections.abc import Callable, Mapping

import numpy as np

from evs_batch.evaluate import METRICS
from evs_batch.spec.recipe import Recipe, parse_recipe
from evs_batch.spec.work import Clip
from evs_batch.stages.inline import enhance_batch
from evs_batch.tiny import clips

FRAMES = 16
CLIPS_PER_CALL = 4
NOISE_SEED = 23

Enhance = Callable[[list[np.ndarray], list[Clip]], list[np.ndarray]]


def variants(recipe: Recipe) -> Mapping[str, Enhance]:
    """What is compared: the degraded input, its way through the VAE alone, T2I alone, and the recipe."""

    def composed(composition: str) -> Enhance:
        changed = parse_recipe({**recipe.model_dump(), "composition": composition})
        return lambda videos, chosen: enhance_batch(videos, chosen, changed)

    return {
        "input": lambda videos, _: videos,
        "VAE only": composed("VAE"),
        "T2I": composed("T2I"),
        recipe.composition: composed(recipe.composition),
    }


def measure(recipe: Recipe, seeds: range) -> list[dict[str, float | str]]:
    """One row for each variant: means of all metrics over the clips of these seeds."""
    return [{"variant": name, **_means(enhance, seeds)} for name, enhance in variants(recipe).items()]


def _means(enhance: Enhance, seeds: range) -> dict[str, float]:
    scores = []
    for at in range(0, len(seeds), CLIPS_PER_CALL):
        chosen = seeds[at : at + CLIPS_PER_CALL]
        scenes = [clips.scene(seed) for seed in chosen]
        clean = [clips.render(scene, FRAMES) for scene in scenes]
        degraded = [clips.degrade(clip, seed) for clip, seed in zip(clean, chosen, strict=True)]
        asked = [_asked(seed, scene) for seed, scene in zip(chosen, scenes, strict=True)]
        made = enhance(degraded, asked)
        scores += [[metric(m, c) for metric in METRICS.values()] for m, c in zip(made, clean, strict=True)]
    return dict(zip(METRICS, np.mean(scores, axis=0).tolist(), strict=True))


def _asked(seed: int, scene: clips.Scene) -> Clip:
    return Clip(id=str(seed), uri="", prompt=scene.caption, seed=NOISE_SEED)
