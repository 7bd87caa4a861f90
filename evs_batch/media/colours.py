"""Give results the colours of their sources: models shift them a little."""

# F frames, H/W pixels, h/w cells of a coarse grid

import numpy as np

from evs_batch.media.cuts import cells
from evs_batch.spec.work import COLOURS_AROUND

GRID = (9, 16)  # cells: colours are compared, not details


def colours(frames_FHW3: np.ndarray) -> np.ndarray:
    """What is kept of a source to match a result to: (F, h, w, 3) in fp32, levels of 255."""
    return cells(frames_FHW3, *GRID)


def match(
    frames_FHW3: np.ndarray, source_Fhw3: np.ndarray, cuts_F: np.ndarray, method: str, own: slice = slice(None)
) -> np.ndarray:
    """Correct the `own` of (F, H, W, 3) uint8 frames by how their `colours` differ from the source's, not across a cut.

    A correction is a mean over neighbouring frames: a shift of a model stays in it, a flicker of the source does not.

    `wavelet` replaces what is coarser than the grid (as users of StableSR do, Wang et al. 2023); `adain` gives each
    channel the source's mean and deviation (Huang and Belongie 2017).
    """
    _, height, width, _ = frames_FHW3.shape
    _, rows, columns, _ = source_Fhw3.shape
    result_Fhw3, shots_F = cells(frames_FHW3, rows, columns), np.cumsum(cuts_F)
    if method == "wavelet":
        gain_F113, shift_Fhw3 = np.ones((len(frames_FHW3), 1, 1, 3)), _steady(source_Fhw3 - result_Fhw3, shots_F)
    else:
        of_source, of_result = (
            [_steady(of(grid, (1, 2), keepdims=True), shots_F) for of in (np.mean, np.std)]
            for grid in (source_Fhw3, result_Fhw3)
        )
        gain_F113 = (of_source[1] + 1) / (of_result[1] + 1)
        shift_Fhw3 = of_source[0] - gain_F113 * of_result[0]
    spread_Hh, spread_Ww = _linear(height, shift_Fhw3.shape[1]), _linear(width, shift_Fhw3.shape[2])
    matched_FHW3 = frames_FHW3.copy()
    for frame in range(len(frames_FHW3))[own]:
        shift_HW3 = np.einsum("Hh,hwc,Ww->HWc", spread_Hh, shift_Fhw3[frame], spread_Ww, optimize=True)
        exact_HW3 = frames_FHW3[frame] * gain_F113[frame].astype(np.float32) + shift_HW3.astype(np.float32)
        matched_FHW3[frame] = np.clip(np.rint(exact_HW3), 0, 255)
    return matched_FHW3[own]


def _steady(of_frames: np.ndarray, shots_F: np.ndarray) -> np.ndarray:
    """Means over neighbouring frames of the same shot."""
    made = []
    for frame, shot in enumerate(shots_F):
        near = slice(max(0, frame - COLOURS_AROUND), frame + COLOURS_AROUND + 1)
        made.append(of_frames[near][shots_F[near] == shot].mean(0))
    return np.stack(made)


def _linear(pixels: int, cells: int) -> np.ndarray:
    """(pixels, cells): how much of each cell's value is at a pixel, linear between their middles."""
    at = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
    return np.maximum(0, 1 - np.abs(np.clip(at, 0, cells - 1)[:, None] - np.arange(cells)))
