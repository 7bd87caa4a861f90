"""What the metrics share: the check of their arguments, and pixels as numbers."""

# F frames, H/W pixels, 3 colour channels

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def require_videos(*videos: np.ndarray) -> None:
    """Raise ValueError unless these are (F, H, W, 3) uint8 arrays of one shape, with at least one pixel."""
    for video in videos:
        if video.ndim != 4 or video.shape[-1] != 3 or video.dtype != np.uint8 or not video.size:
            raise ValueError(f"an array {video.shape} of {video.dtype}: must be a (F, H, W, 3) uint8 video")
        if video.shape != videos[0].shape:
            raise ValueError(f"{size(videos[0])} against {size(video)}: must be the same")


def size(video_FHW3: np.ndarray) -> str:
    """Frames, width and height of a video, for people."""
    frames, height, width, _ = video_FHW3.shape
    return f"{frames} frames of {width}x{height} pixels"


def unit(pixels: np.ndarray) -> np.ndarray:
    """uint8 to 0..1 in float32."""
    return pixels.astype(np.float32) / 255


def luma(picture_HW3: np.ndarray) -> np.ndarray:
    """Brightness of a picture, (H, W) in 0..1."""
    return unit(picture_HW3) @ LUMA
