"""Metrics against a known clean clip."""

# F frames, H/W pixels

import numpy as np


def psnr(video_FHW3: np.ndarray, clean_FHW3: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, over all frames at once; higher is better."""
    error = _unit(video_FHW3) - _unit(clean_FHW3)
    return float(-10 * np.log10(max(np.mean(error**2), 1e-12)))


def flicker_error(video_FHW3: np.ndarray, clean_FHW3: np.ndarray) -> float:
    """Root mean square error of the temporal difference, relative to unit pixels; lower is better."""
    if len(video_FHW3) == 1:
        return 0.0
    error = np.diff(_unit(video_FHW3), axis=0) - np.diff(_unit(clean_FHW3), axis=0)
    return float(np.sqrt(np.mean(error**2)))


def sharpness(video_FHW3: np.ndarray, clean_FHW3: np.ndarray) -> float:
    """Energy of the Laplacian over that of the clean clip; 1 is as sharp, more is noise."""
    return float(_laplacian_energy(video_FHW3) / max(_laplacian_energy(clean_FHW3), 1e-12))


def _laplacian_energy(video_FHW3: np.ndarray) -> float:
    x = _unit(video_FHW3)
    centre = x[:, 1:-1, 1:-1]
    around = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:]
    return float(np.mean((around - 4 * centre) ** 2))


def _unit(video: np.ndarray) -> np.ndarray:
    return video.astype(np.float32) / 255
