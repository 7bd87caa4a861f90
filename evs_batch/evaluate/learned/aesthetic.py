"""Aesthetic Predictor V2.5: how people would rate each frame, from SigLIP's features.

discus0434/aesthetic-predictor-v2-5, src/aesthetic_predictor_v2_5/siglip_v2_5.py. It is made for images; over a video
it is the mean over all frames, as the EVS paper reports it. The network is transformers' `SiglipVisionModel`.
"""

# F frames, C channels of features, H/W pixels

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import SiglipVisionModel
from transformers.utils import logging as transformers_logging

from evs_batch.evaluate.learned import files
from evs_batch.evaluate.learned.weights import device_of, fill, read, ready
from evs_batch.evaluate.pixels import require_videos
from evs_batch.spec.errors import ModelError

HEAD_WIDTHS = (1024, 128, 64, 16, 1)
PIXEL_MEAN, PIXEL_DEVIATION = 0.5, 0.5  # of unit pixels, for SigLIP


def load(folder: Path) -> Callable[[np.ndarray], float]:
    """The metric with the SigLIP of a transformers folder and `aesthetic_predictor_v2_5.safetensors`."""
    siglip = load_siglip(files.SIGLIP.locate(folder))
    path = files.AESTHETIC_HEAD.locate(folder)
    head = fill(Head(siglip.config.hidden_size), read(path), path)

    @torch.inference_mode()
    def metric(video_FHW3: np.ndarray) -> float:
        require_videos(video_FHW3)
        # One by one: the network is large, and a frame's score does not depend on how many others there are.
        frames = (prepare(frame, siglip.config.image_size).to(device_of(siglip)) for frame in video_FHW3)
        return torch.cat([rate(head, siglip(pixel_values=frame).pooler_output) for frame in frames]).mean().item()

    return metric


def rate(head: nn.Module, features_FC: Tensor) -> Tensor:
    """The rating (F,) of each frame, about 1 to 10, from features of any length."""
    return head(features_FC / features_FC.norm(dim=-1, keepdim=True))[:, 0]


def prepare(frame_HW3: np.ndarray, side_px: int) -> Tensor:
    """A frame (1, 3, side, side) as SigLIP sees it: squeezed to a square by Pillow's bicubic filter."""
    square = Image.fromarray(frame_HW3).resize((side_px, side_px), Image.Resampling.BICUBIC)
    unit_HW3 = np.asarray(square, np.float32) / 255
    return torch.from_numpy((unit_HW3 - PIXEL_MEAN) / PIXEL_DEVIATION).permute(2, 0, 1)[None]


class Head(nn.Module):
    """Linear layers with dropout between them in training, and nothing else."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((width, *HEAD_WIDTHS), HEAD_WIDTHS, strict=False):
            layers += [nn.Linear(inputs, outputs), nn.Dropout()]
        self.scoring_head = nn.Sequential(*layers[:-1])

    def forward(self, features_FC: Tensor) -> Tensor:
        return self.scoring_head(features_FC)


def load_siglip(folder: Path) -> Any:
    """SigLIP's image tower, complete or not at all."""
    fix = f"download all of {files.SIGLIP.published} again"
    try:
        with _quiet():
            loaded: Any = SiglipVisionModel.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
        siglip, report = loaded
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(str(folder), f"cannot be loaded ({error})", fix) from error
    # transformers fills what is missing with random numbers, and says so in its log alone.
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ModelError(str(folder), f"lacks {len(missing)} tensors, the first is '{missing[0]}'", fix)
    return ready(siglip)


@contextmanager
def _quiet():
    """Without transformers' list of the text tower's tensors, which go unused here."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
