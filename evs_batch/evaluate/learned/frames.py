"""What the learned metrics ask of a video before they look at it."""

# F frames, C channels, H/W pixels

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from evs_batch.evaluate.pixels import require_videos
from evs_batch.spec.errors import MediaError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def need(metric: str, video_FHW3: np.ndarray, side_px: int) -> None:
    """Refuse a video that is too small for a metric."""
    require_videos(video_FHW3)
    _, height, width, _ = video_FHW3.shape
    if min(height, width) < side_px:
        rule = f"{metric} needs sides of {side_px} px or more"
        raise MediaError(f"{width}x{height} px", rule, "leave this video or this metric out")


def planes(video_FHW3: np.ndarray, device: torch.device) -> Tensor:
    """(F, 3, H, W) fp32 in 0..255 of (F, H, W, 3) uint8."""
    return torch.from_numpy(np.ascontiguousarray(video_FHW3)).to(device).permute(0, 3, 1, 2).float()


def resize(x_FCHW: Tensor, height: int, width: int) -> Tensor:
    """Bilinear without antialiasing: torchvision's `Resize` on tensors, as VBench and DOVER call it."""
    return interpolate(x_FCHW, size=(height, width), mode="bilinear", align_corners=False)


def imagenet_normalise(unit_FCHW: Tensor) -> Tensor:
    """Unit pixels to zero mean and unit variance over ImageNet."""
    mean, std = (unit_FCHW.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (unit_FCHW - mean) / std
