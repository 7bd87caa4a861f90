"""Quality metrics: pure functions of videos as (F, H, W, 3) uint8 arrays; `docs/metrics.md` has them all in one table.

May import numpy; OpenCV, torch and transformers only inside the files that need them. A new metric is one function and
one line in `REFERENCE` or `FREE`, by the name of its column, and a row of the page. They raise ValueError for arrays
that they do not fit, and give nan where they do not apply, as temporal ones to a single frame.
"""

from collections.abc import Callable, Mapping

import numpy as np

from evs_batch.evaluate.edges import acutance
from evs_batch.evaluate.flow import warping_error
from evs_batch.evaluate.free import sharpness, subject_consistency
from evs_batch.evaluate.motion import motion_error
from evs_batch.evaluate.reference import flicker_error, psnr, ssim

# of a video and its clean original
REFERENCE: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "psnr_db": psnr,
    "ssim": ssim,
    "acutance": acutance,
    "flicker_error": flicker_error,
}
# of a video and the one that it was made from
FREE: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "sharpness": lambda video_FHW3, _: sharpness(video_FHW3),
    "warping_error": warping_error,
}

__all__ = [
    "FREE",
    "REFERENCE",
    "acutance",
    "flicker_error",
    "motion_error",
    "psnr",
    "sharpness",
    "ssim",
    "subject_consistency",
    "warping_error",
]
