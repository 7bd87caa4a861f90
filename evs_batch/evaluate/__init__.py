"""Quality metrics: pure functions of videos as (F, H, W, 3) uint8 arrays.

May import numpy. A new metric is one function and one line in `METRICS`.
"""

from evs_batch.evaluate.reference import flicker_error, psnr, sharpness

METRICS = {"psnr_db": psnr, "flicker_error": flicker_error, "sharpness": sharpness}

__all__ = ["METRICS", "flicker_error", "psnr", "sharpness"]
