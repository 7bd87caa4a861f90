"""Consistency along a motion that is known exactly, as that of synthetic clips."""

# F frames, H/W pixels, 3 colour channels, 2 coordinates (x, y) in pixels

import numpy as np

from evs_batch.evaluate.pixels import require_videos, unit


def motion_error(video_FHW3: np.ndarray, sources_FHW2: np.ndarray, inside_FHW: np.ndarray) -> float:
    """RMS difference between each frame and the one before it, sampled where the content was; lower is better.

    `sources` are coordinates in frame f - 1 (0 is the centre of the first pixel), `inside` is where they hold; those of
    frame 0 are not used. In unit pixels; nan if there is nothing to compare.
    """
    require_videos(video_FHW3)
    if sources_FHW2.shape != (*video_FHW3.shape[:3], 2) or inside_FHW.shape != video_FHW3.shape[:3]:
        raise ValueError(
            f"sources {sources_FHW2.shape} and inside {inside_FHW.shape}: do not fit a video {video_FHW3.shape}"
        )
    squares, count = 0.0, 0
    for f in range(1, len(video_FHW3)):
        before = sample(unit(video_FHW3[f - 1]), sources_FHW2[f])
        difference_N3 = (unit(video_FHW3[f]) - before)[inside_FHW[f].astype(bool)]
        squares, count = squares + float(np.sum(difference_N3**2)), count + difference_N3.size
    return float(np.sqrt(squares / count)) if count else float("nan")


def sample(picture_HWC: np.ndarray, at_HW2: np.ndarray) -> np.ndarray:
    """A picture at fractional (x, y), bilinearly; its border goes on outside of it."""
    height, width = picture_HWC.shape[:2]
    x, y = np.clip(at_HW2[..., 0], 0, width - 1), np.clip(at_HW2[..., 1], 0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    u, v = (x - left)[..., None], (y - top)[..., None]
    above = (1 - u) * picture_HWC[top, left] + u * picture_HWC[top, right]
    below = (1 - u) * picture_HWC[bottom, left] + u * picture_HWC[bottom, right]
    return (1 - v) * above + v * below
