"""Where shots begin."""

# F frames, H/W pixels

from collections.abc import Sequence

import numpy as np

HEIGHT_PX, WIDTH_PX = 36, 64
SAMPLES = 4  # of a cell, in each direction: enough for its mean
BEFORE = 2  # frames that a judgement looks back


def find_cuts(frames_FHW3: np.ndarray, before: Sequence[np.ndarray], threshold: float) -> np.ndarray:
    """Which uint8 frames begin a shot: (F,) bool; `before` are the last two frames before them, or what there is.

    The mean absolute difference to the frame before, of pictures of 64x36, in % of white, and how much it differs from
    that of the frame before: a fast pan changes all frames alike (the measure of FFmpeg's `scdet`).
    """
    runs = [*(frame_HW3[None] for frame_HW3 in before), frames_FHW3]
    small_FHW3 = np.concatenate([cells(run_FHW3, HEIGHT_PX, WIDTH_PX) for run_FHW3 in runs])
    change_F = np.zeros(len(small_FHW3))
    change_F[1:] = np.abs(np.diff(small_FHW3, axis=0)).mean((1, 2, 3)) * (100 / 255)
    jump_F = np.abs(np.diff(change_F, prepend=0.0))
    jump_F[:BEFORE] = 0.0  # nothing to compare with yet
    return (np.minimum(change_F, jump_F) > threshold)[len(before) :]


def cells(frames_FHW3: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Means over a grid of cells, fewer where there are fewer pixels: (F, h, w, 3) in fp32."""
    wanted = zip(frames_FHW3.shape[1:3], (rows, columns), strict=True)
    steps = [max(1, side // (number * SAMPLES)) for side, number in wanted]
    frames_FHW3 = frames_FHW3[:, :: steps[0], :: steps[1]]
    _, height, width, _ = frames_FHW3.shape
    tops = np.unique(np.linspace(0, height, rows, endpoint=False).astype(int))
    lefts = np.unique(np.linspace(0, width, columns, endpoint=False).astype(int))
    of_rows = np.add.reduceat(frames_FHW3, tops, axis=1, dtype=np.float32)
    sums = np.add.reduceat(of_rows, lefts, axis=2)
    area_hw = np.diff(tops, append=height)[:, None] * np.diff(lefts, append=width)
    return sums / area_hw[:, :, None]
