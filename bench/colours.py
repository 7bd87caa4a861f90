"""What matching colours to the source does to the tiny family's results: `python bench/colours.py [CLIPS]`.

For each choice: how far coarse colours are from the source's and from the clean clip's (levels of 255, over a grid of
9x16), how much better than the source the clips are (dB), and how much of its flicker is left.
"""

import sys

import numpy as np

from evs_batch.bench.domain import sample
from evs_batch.evaluate import flicker_error, psnr
from evs_batch.media.colours import colours
from evs_batch.spec.recipe import load_recipe
from evs_batch.stages.inline import load_enhancer
from evs_batch.tiny.clips import VALIDATION_SEEDS

RECIPES = {"demo": [], "T2I, strength 0.6": ["composition='T2I'", "t2i.strength=0.6"]}
HEAD = "| recipe | colour_match | off the source | off the clean clip | dB gained | flicker left |"


def off(a_FHW3: np.ndarray, b_FHW3: np.ndarray) -> float:
    return float(np.abs(colours(a_FHW3) - colours(b_FHW3)).mean())


def main(clips: int) -> None:
    samples = [sample(seed) for seed in VALIDATION_SEEDS[:clips]]
    print(f"{clips} validation clips\n\n{HEAD}\n|---|---|---|---|---|---|")
    for name, changes in RECIPES.items():
        for method in ("none", "wavelet", "adain"):
            recipe = load_recipe("demo", [*changes, f"output.colour_match={method}"])
            videos = load_enhancer(recipe)([s.degraded for s in samples], [s.clip for s in samples])
            rows = [
                (
                    off(video, s.degraded),
                    off(video, s.clean),
                    psnr(video, s.clean) - psnr(s.degraded, s.clean),
                    flicker_error(video, s.clean) / flicker_error(s.degraded, s.clean),
                )
                for video, s in zip(videos, samples, strict=True)
            ]
            print(f"| {name} | {method} | " + " | ".join(f"{value:.2f}" for value in np.mean(rows, axis=0)) + " |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
