"""What layouts, batches and compiling do to the parts of the paper's job on this machine's device.

    python bench/levers.py FOLDER [full|small]        random weights are written to FOLDER, or found there

Prints milliseconds of a pass of the U-Net over 16 frames with guidance and of the autoencoder for a frame, and the
kernels that a pass spends its time in.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from evs_batch.bench.device import jobs, plain, weights
from evs_batch.models import hardware

REPEATS, FRAMES = 5, (1, 4, 16)
CELLS = {"full": (80, 128), "small": (8, 16)}  # latents of 640x1024 pixels


def ms(call: Callable[[], Any]) -> float:
    """The median of a few calls after two that warm up."""
    return 1000 * median([jobs.timed(call)[1] for _ in range(REPEATS + 2)][2:])


@torch.inference_mode()
def main() -> None:
    folder, size = Path(sys.argv[1]), (sys.argv[2:] or ["full"])[0]
    device = hardware.device()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    if not (folder / "motion").is_dir():
        weights.write(folder, size, device)
    models = plain.load(folder, device, dtype)
    z = torch.randn(32, 4, *CELLS[size], device=device, dtype=dtype)
    text = torch.randn(32, 77, models.unet.config.cross_attention_dim, device=device, dtype=dtype)
    t = torch.tensor(381, device=device)
    for layout in (torch.contiguous_format, torch.channels_last):
        models.unet.to(memory_format=layout)
        models.vae.to(memory_format=layout)
        x = z.contiguous(memory_format=layout)
        print(f"{layout}: U-Net {ms(partial(models.unet, x, t, text)):.1f} ms", flush=True)
        for frames in FRAMES:
            decode = partial(models.vae.decode, x[:frames])
            print(f"{layout}: decode, {frames} frames at once: {ms(decode) / frames:.1f} ms a frame", flush=True)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        jobs.timed(partial(models.unet, x, t, text))
    print(found.key_averages().table(sort_by=f"self_{device.type}_time_total", row_limit=12))
    compiled: Any = torch.compile(models.unet)
    print(f"compile: {jobs.timed(partial(compiled, x, t, text))[1]:.1f} s")
    print(f"compiled: U-Net {ms(partial(compiled, x, t, text)):.1f} ms")


if __name__ == "__main__":
    main()
