"""How sharp the edges of a clip are, against those of its clean original."""

# F frames, H/W pixels, 2 directions (x, y), 3 colour channels

import numpy as np

from evs_batch.evaluate.pixels import luma, require_videos

SLACK_PX = 2  # how far an edge may have moved


def acutance(video_FHW3: np.ndarray, clean_FHW3: np.ndarray) -> float:
    """How steep edges are where the clean clip has its own, in its direction: 1 is as steep, 0.5 half, more is sharper.

    The steepest slope of luma within SLACK_PX along the clean gradient, weighted by the square of that gradient: noise
    and blotches away from edges do not count, nor does an edge that moved a little. nan if the clean clip is flat.
    """
    require_videos(video_FHW3, clean_FHW3)
    if min(video_FHW3.shape[1:3]) < 3:
        raise ValueError("acutance needs pictures of at least 3x3 pixels")
    found, wanted = np.sum([_slopes(luma(v), luma(c)) for v, c in zip(video_FHW3, clean_FHW3, strict=True)], axis=0)
    return float(found / wanted) if wanted else float("nan")


def _slopes(x_HW: np.ndarray, clean_HW: np.ndarray) -> tuple[float, float]:
    """Weighted sums of the steepest slopes along the clean gradient: of a picture, and of the clean one itself."""
    gradient_2HW = _gradient(clean_HW)
    weight_HW = np.sum(gradient_2HW**2, axis=0)
    direction_2HW = gradient_2HW / np.sqrt(np.maximum(weight_HW, np.finfo(np.float32).tiny))
    own, clean = (float(np.sum(weight_HW * _steepest(_gradient(p), direction_2HW))) for p in (x_HW, clean_HW))
    return own, clean


def _gradient(x_HW: np.ndarray) -> np.ndarray:
    """Central differences (2, H - 2, W - 2)."""
    return np.stack([x_HW[1:-1, 2:] - x_HW[1:-1, :-2], x_HW[2:, 1:-1] - x_HW[:-2, 1:-1]]) / 2


def _steepest(gradient_2HW: np.ndarray, direction_2HW: np.ndarray) -> np.ndarray:
    """The largest slope along each pixel's direction in the square around it; never below 0."""
    height, width = gradient_2HW.shape[1:]
    padded = np.pad(gradient_2HW, ((0, 0), (SLACK_PX, SLACK_PX), (SLACK_PX, SLACK_PX)))
    best_HW = np.zeros((height, width), np.float32)
    for y in range(2 * SLACK_PX + 1):
        for x in range(2 * SLACK_PX + 1):
            moved_2HW = padded[:, y : y + height, x : x + width]
            np.maximum(best_HW, np.einsum("dhw,dhw->hw", moved_2HW, direction_2HW), out=best_HW)
    return best_HW
