"""Subject consistency: how alike all frames are to the first one and to the one before, in DINO's eyes.

VBench (Huang et al., CVPR 2024), Vchitect/VBench, vbench/subject_consistency.py and `dino_transform` of utils.py.
"""

# F frames, C channels of features, H/W pixels

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evs_batch.evaluate.free import subject_consistency
from evs_batch.evaluate.learned import files
from evs_batch.evaluate.learned.frames import imagenet_normalise, planes, resize
from evs_batch.evaluate.learned.networks.vit import Sizes, ViT, from_transformers
from evs_batch.evaluate.learned.weights import device_of, fill, read
from evs_batch.evaluate.pixels import require_videos

SHORT_SIDE_PX = 224


def load(folder: Path, sizes: Sizes = Sizes()) -> Callable[[np.ndarray], float]:
    """The metric with the weights of `dino_vitbase16_pretrain.safetensors`, or of the transformers folder."""
    path = files.DINO.locate(folder)
    tensors = from_transformers(read(path / "model.safetensors")) if path.is_dir() else read(path)
    network = fill(ViT(sizes), tensors, path)

    @torch.inference_mode()
    def metric(video_FHW3: np.ndarray) -> float:
        require_videos(video_FHW3)
        # One by one, as VBench does: a frame's features do not depend on how many others there are.
        frames = (planes(frame[None], device_of(network)) for frame in video_FHW3)
        features_FC = torch.cat([network(prepare(frame)) for frame in frames])
        return subject_consistency(features_FC.cpu().numpy())

    return metric


def prepare(x_FCHW: Tensor) -> Tensor:
    """Frames in 0..255 as DINO sees them in VBench: the short side at 224 px, nothing cropped."""
    height, width = x_FCHW.shape[-2:]
    short = min(height, width)
    x = resize(x_FCHW, SHORT_SIDE_PX * height // short, SHORT_SIDE_PX * width // short)
    return imagenet_normalise(x / 255)
