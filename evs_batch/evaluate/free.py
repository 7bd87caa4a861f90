"""Metrics that need the video alone."""

# F frames, H/W pixels, 3 colour channels, D features

from itertools import pairwise

import numpy as np

from evs_batch.evaluate.pixels import luma, require_videos


def sharpness(video_FHW3: np.ndarray) -> float:
    """Tenengrad: mean squared Sobel gradient of luma in unit pixels. More is sharper, or noise; compare with a source.

    Tenenbaum 1970; GRA6 in the survey of Pertuz et al. 2013.
    """
    require_videos(video_FHW3)
    if min(video_FHW3.shape[1:3]) < 3:
        raise ValueError("sharpness needs pictures of at least 3x3 pixels")
    return float(np.mean([_tenengrad(luma(picture_HW3)) for picture_HW3 in video_FHW3]))


def subject_consistency(features_FD: np.ndarray) -> float:
    """Mean over frames of the mean cosine with the first and with the previous frame, each clipped at 0.

    VBench (Huang et al. 2024), which takes DINO features; higher is better, nan for one frame.
    """
    if features_FD.ndim != 2 or not features_FD.size:
        raise ValueError(f"features {features_FD.shape}: must be (F, D), a vector for every frame")
    lengths = np.linalg.norm(features_FD, axis=1, keepdims=True)
    unit_FD = features_FD / np.maximum(lengths, np.finfo(np.float32).tiny)
    scores = [(max(0.0, now @ unit_FD[0]) + max(0.0, now @ before)) / 2 for before, now in pairwise(unit_FD)]
    return float(np.mean(scores)) if scores else float("nan")


def _tenengrad(x_HW: np.ndarray) -> float:
    columns = x_HW[:-2] + 2 * x_HW[1:-1] + x_HW[2:]
    rows = x_HW[:, :-2] + 2 * x_HW[:, 1:-1] + x_HW[:, 2:]
    across, down = columns[:, 2:] - columns[:, :-2], rows[2:] - rows[:-2]
    return float(np.mean(across**2 + down**2))
