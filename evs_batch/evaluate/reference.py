"""Metrics against a known clean clip of the same size."""

# F frames, H/W pixels, 3 colour channels

from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from evs_batch.evaluate.pixels import luma, require_videos, unit

LOWEST_MSE = 1e-12  # equal clips have 120 dB
SSIM_SIGMA_PX, SSIM_WINDOW_PX = 1.5, 11
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # (K1 L)^2 and (K2 L)^2 for pixels in 0..1

_AT = np.arange(SSIM_WINDOW_PX) - SSIM_WINDOW_PX // 2
_TAPS = np.exp(-0.5 * (_AT / SSIM_SIGMA_PX) ** 2)
_TAPS /= _TAPS.sum()


def psnr(video_FHW3: np.ndarray, clean_FHW3: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, over all frames at once; higher is better."""
    require_videos(video_FHW3, clean_FHW3)
    errors = [np.mean((unit(v) - unit(c)) ** 2) for v, c in zip(video_FHW3, clean_FHW3, strict=True)]
    return float(-10 * np.log10(max(np.mean(errors), LOWEST_MSE)))


def ssim(video_FHW3: np.ndarray, clean_FHW3: np.ndarray) -> float:
    """Structural similarity of luma, mean over frames; 1 is equal.

    Wang et al. 2004: Gaussian window of 11 pixels and sigma 1.5, only where it lies inside the picture.
    """
    require_videos(video_FHW3, clean_FHW3)
    if min(video_FHW3.shape[1:3]) < SSIM_WINDOW_PX:
        raise ValueError(f"ssim needs pictures of at least {SSIM_WINDOW_PX}x{SSIM_WINDOW_PX} pixels")
    return float(np.mean([_ssim(luma(v), luma(c)) for v, c in zip(video_FHW3, clean_FHW3, strict=True)]))


def flicker_error(video_FHW3: np.ndarray, clean_FHW3: np.ndarray) -> float:
    """Root mean square error of the temporal difference, in unit pixels; lower is better, nan for one frame."""
    require_videos(video_FHW3, clean_FHW3)
    changes = zip(pairwise(map(unit, video_FHW3)), pairwise(map(unit, clean_FHW3)), strict=True)
    errors = [np.mean(((v1 - v0) - (c1 - c0)) ** 2) for (v0, v1), (c0, c1) in changes]
    return float(np.sqrt(np.mean(errors))) if errors else float("nan")


def _ssim(x_HW: np.ndarray, y_HW: np.ndarray) -> float:
    x, y = x_HW.astype(np.float64), y_HW.astype(np.float64)  # variances are small differences
    mean_x, mean_y = _window(x), _window(y)
    var_x, var_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + SSIM_C1) * (2 * covariance + SSIM_C2)
    return float(np.mean(likeness / ((mean_x**2 + mean_y**2 + SSIM_C1) * (var_x + var_y + SSIM_C2))))


def _window(x_HW: np.ndarray) -> np.ndarray:
    """Weighted local means; smaller than the picture by 5 pixels on every side."""
    rows = sliding_window_view(x_HW, SSIM_WINDOW_PX, axis=0) @ _TAPS
    return sliding_window_view(rows, SSIM_WINDOW_PX, axis=1) @ _TAPS
