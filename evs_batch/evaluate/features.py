"""What a vision model that the user names sees in each frame. Imports torch and transformers: load it late."""

# F frames, H/W pixels, 3 colour channels, D features

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModel
from transformers.utils import logging as transformers_logging

from evs_batch.evaluate.pixels import require_videos
from evs_batch.spec.errors import ModelError

FRAMES_PER_CALL = 8
_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_CLASS_TOKENS = ("cls_token", "class_embedding")  # what models call the token that stands for the whole picture

transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()  # missing weights are an error here, not a report


def load_features(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """A function from frames (F, H, W, 3) uint8 to features (F, D) float32, by a folder of transformers.

    Features are the class token after the last layer, or the pooled output of a model that has no such token. Only
    safetensors are read, and no code. Raises ModelError.
    """
    processor, model, has_class_token = _load(folder)

    @torch.inference_mode()
    def features(frames_FHW3: np.ndarray) -> np.ndarray:
        require_videos(frames_FHW3)
        calls = [frames_FHW3[at : at + FRAMES_PER_CALL] for at in range(0, len(frames_FHW3), FRAMES_PER_CALL)]
        return np.concatenate([_call(list(call)) for call in calls])

    def _call(pictures: list[np.ndarray]) -> np.ndarray:
        pixels = processor(images=pictures, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
        seen = model(pixel_values=pixels.to(model.device))
        features_FD = seen.last_hidden_state[:, 0] if has_class_token else seen.pooler_output.flatten(1)
        return features_FD.float().cpu().numpy()

    return features


def _load(folder: Path) -> tuple[Any, Any, bool]:
    try:
        processor: Any = AutoImageProcessor.from_pretrained(folder, backend="pil", **_LOCAL)
        model, report = AutoModel.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **_LOCAL
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise ModelError(str(folder), f"cannot be loaded ({error})", "check that the folder is complete") from error
    has_class_token = any(name.endswith(_CLASS_TOKENS) for name, _ in model.named_parameters())
    unused = ("mask_token", "pooler") if has_class_token else ("mask_token",)
    missing = sorted(name for name in report["missing_keys"] if not any(part in name for part in unused))
    if missing:
        raise ModelError(str(folder), f"lacks the weights '{missing[0]}'", "name a folder of a trained vision model")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return processor, model.to(device).eval().requires_grad_(False), has_class_token
