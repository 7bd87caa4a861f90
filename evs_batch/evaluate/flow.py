"""Consistency along a motion that is estimated: optical flow by OpenCV, which is an optional extra."""

# F frames, H/W pixels, h/w pixels of the video that gives the motion, 2 components (x, y) in pixels

from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np

from evs_batch.evaluate.pixels import luma, require_videos, size, unit

INSTALL = "pip install 'evs-batch[evaluate]'"
MIN_SIDE_PX = 16  # two patches of DIS
# Ruder et al. 2016, in squared pixels: flows that do not cancel, and edges of the flow.
CHECK_SHARE, CHECK_PX2 = 0.01, 0.5
EDGE_SHARE, EDGE_PX2 = 0.01, 0.002


def has_opencv() -> bool:
    """Whether the flow can be computed here."""
    return find_spec("cv2") is not None


def warping_error(video_FHW3: np.ndarray, source_FHW3: np.ndarray | None = None) -> float:
    """Mean squared difference between each frame and the next one warped onto it, where nothing is hidden.

    Lai et al. 2018 as in their released code (mean over pixels and channels, then over frames; occlusion after Ruder et
    al. 2016), with DIS flow for FlowNet2. The motion is that of `source`, at any size, else of the video itself. In
    unit pixels squared; lower is better; nan for one frame. Raises ImportError without OpenCV.
    """
    motion_FHW3 = video_FHW3 if source_FHW3 is None else source_FHW3
    require_videos(video_FHW3)
    require_videos(motion_FHW3)
    if len(motion_FHW3) != len(video_FHW3):
        raise ValueError(f"{size(video_FHW3)} with the motion of {size(motion_FHW3)}: must be as many frames")
    if min(motion_FHW3.shape[1:3]) < MIN_SIDE_PX:
        raise ValueError(f"optical flow needs pictures of at least {MIN_SIDE_PX}x{MIN_SIDE_PX} pixels")
    dis = _dis()
    errors: list[float] = []
    for (now, after), (motion_now, motion_after) in zip(pairwise(video_FHW3), pairwise(motion_FHW3), strict=True):
        shown, follows = _grey(motion_now), _grey(motion_after)
        there_HW2 = _fit(dis.calc(shown, follows, None), now.shape)
        back_HW2 = _fit(dis.calc(follows, shown, None), now.shape)
        errors.append(_masked_error(unit(now), unit(after), there_HW2, ~_hidden(there_HW2, back_HW2)))
    return float(np.mean(errors)) if errors else float("nan")


def _dis() -> Any:
    try:
        import cv2  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise ImportError(f"optical flow needs OpenCV: {INSTALL}") from error
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


def _grey(picture_hw3: np.ndarray) -> np.ndarray:
    return (luma(picture_hw3) * 255).round().astype(np.uint8)


def _fit(flow_hw2: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A flow at the size of another picture."""
    import cv2  # noqa: PLC0415

    (height, width), (h, w) = shape[:2], flow_hw2.shape[:2]
    if (height, width) == (h, w):
        return flow_hw2
    scale = np.array([width / w, height / h], np.float32)
    return cv2.resize(flow_hw2, (width, height), interpolation=cv2.INTER_LINEAR) * scale


def _warp(picture_HWC: np.ndarray, flow_HW2: np.ndarray) -> np.ndarray:
    """What a picture has where the flow leads."""
    import cv2  # noqa: PLC0415

    height, width = flow_HW2.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    at_x, at_y = x + flow_HW2[..., 0], y + flow_HW2[..., 1]
    return cv2.remap(picture_HWC, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _hidden(there_HW2: np.ndarray, back_HW2: np.ndarray) -> np.ndarray:
    """Where the content is not seen in the other frame: the way back does not lead back, or motions meet."""
    returned_HW2 = _warp(back_HW2, there_HW2)
    lengths = _square(there_HW2) + _square(returned_HW2)
    lost = _square(there_HW2 + returned_HW2) > CHECK_SHARE * lengths + CHECK_PX2
    slope = np.zeros(there_HW2.shape[:2], np.float32)
    slope[:, :-1] += _square(np.diff(there_HW2, axis=1))
    slope[:-1] += _square(np.diff(there_HW2, axis=0))
    return lost | (slope > EDGE_SHARE * _square(there_HW2) + EDGE_PX2)


def _square(flow_HW2: np.ndarray) -> np.ndarray:
    return np.sum(flow_HW2**2, axis=-1)


def _masked_error(now_HW3: np.ndarray, after_HW3: np.ndarray, flow_HW2: np.ndarray, seen_HW: np.ndarray) -> float:
    """Mean over the pixels that are seen in both frames; 0 if there are none, as in the released code."""
    difference_N3 = (_warp(after_HW3, flow_HW2) - now_HW3)[seen_HW]
    return float(np.mean(difference_N3**2)) if difference_N3.size else 0.0
