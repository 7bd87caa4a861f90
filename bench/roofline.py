"""What passes of the models and single kernels of the paper's job reach on this machine's device.

    python bench/roofline.py FOLDER [full|small] [--json FILE]

Random weights are written to FOLDER, or found there. Passes: the U-Net over 16 frames with guidance, T2V over 16
frames, the autoencoder for a frame; eager in both orders of weights, and with compiled blocks, in 8 bits too. Kernels:
convolutions, products and attention in the shapes of that pass; products in 8 bits with the change of their inputs.
"""

import json
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as nnf
from torch.nn.attention import SDPBackend, sdpa_kernel

from evs_batch.bench.device import plain, weights
from evs_batch.bench.device.clock import timed
from evs_batch.models import hardware
from evs_batch.models.compiling import compile_blocks
from evs_batch.models.fp8 import Product8, has_fp8, in_fp8

REPEATS, ROWS, HEADS = 5, 32, 8  # rows: 16 frames, with guidance
SIDES = {"full": (80, 128), "small": (8, 16)}  # latents of 640x1024 pixels
CONVOLUTIONS = ((320, 320, 1), (960, 320, 1), (640, 640, 2), (1920, 640, 2), (1280, 1280, 4), (2560, 1280, 4))
PRODUCTS = ((320, 2560, 1), (1280, 320, 1), (320, 320, 1), (640, 5120, 2), (2560, 640, 2), (1280, 10240, 4))
ATTENTION = ((40, 1), (80, 2), (160, 4))  # width of a head, and how much smaller than the latents
BACKENDS = (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)

Row = dict[str, Any]


def ms(call: Callable[[], Any]) -> float:
    """The median of a few calls after two that warm up."""
    return 1000 * median([timed(call)[1] for _ in range(REPEATS + 2)][2:])


def passes(folder: Path, sides: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Iterator[Row]:
    """Milliseconds of each model, eager and compiled; `first_s` is the first call, which compiles."""
    fp8 = ("static, fp8",) if has_fp8(device) else ()
    for way in ("eager", "eager, channels_last", "static", *fp8, "dynamic"):
        torch._dynamo.reset()
        models = plain.load(folder / "t2i", folder / "motion", device, dtype)
        layout = torch.contiguous_format if way == "eager" else torch.channels_last
        z = torch.randn(ROWS, 4, *sides, device=device, dtype=dtype).contiguous(memory_format=layout)
        text = torch.randn(ROWS, 77, models.unet.config.cross_attention_dim, device=device, dtype=dtype)
        video, t, half = z[: ROWS // 2].transpose(0, 1)[None], torch.tensor(381, device=device), text[: ROWS // 2]
        for name, model, call in (
            ("unet", models.unet, partial(models.unet, z, t, text)),
            ("motion", models.motion, partial(models.motion, video, t, half)),
            ("decode", models.vae, partial(models.vae.decode, z[:1])),
        ):
            model.to(memory_format=layout)
            if way.endswith("fp8"):
                if name != "unet":  # nothing else is run in 8 bits
                    continue
                in_fp8(model)
            if not way.startswith("eager"):
                compile_blocks(model, dynamic=way == "dynamic")
            first_s = timed(call)[1]
            yield {"kind": "pass", "name": name, "way": way, "first_s": first_s, "ms": ms(call)}


def kernels(sides: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Iterator[Row]:
    """Milliseconds, operations and the fewest bytes of each kernel."""
    like: dict[str, Any] = {"device": device, "dtype": dtype}
    for layout, (inner, outer, shrink) in product((torch.contiguous_format, torch.channels_last), CONVOLUTIONS):
        h, w = sides[0] // shrink, sides[1] // shrink
        x = torch.randn(ROWS, inner, h, w, **like).contiguous(memory_format=layout)
        convolve = torch.nn.Conv2d(inner, outer, 3, padding=1, **like).to(memory_format=layout)
        way = "channels_last" if layout is torch.channels_last else "contiguous"
        work = 2 * 9 * inner * outer * h * w * ROWS, 2 * (ROWS * h * w * (inner + outer) + 9 * inner * outer)
        yield _kernel("convolution", f"{inner} to {outer}, {h}x{w}", way, partial(convolve, x), *work)
    for inner, outer, shrink in PRODUCTS:
        rows = ROWS * sides[0] * sides[1] // shrink**2
        a, linear = torch.randn(rows, inner, **like), torch.nn.Linear(inner, outer, **like)
        work = 2 * rows * inner * outer, 2 * (rows * (inner + outer) + inner * outer)
        name = f"{rows}x{inner} by {inner}x{outer}"
        yield _kernel("product", name, "", partial(linear, a), *work)
        if has_fp8(device):
            halved = work[0], work[1] - inner * outer  # of weights
            yield _kernel("product", name, "fp8", partial(Product8(linear), a), *halved)
    for (width, shrink), backend in product(ATTENTION, BACKENDS):
        cells = sides[0] * sides[1] // shrink**2
        qkv = [torch.randn(ROWS, cells, HEADS, width, **like).transpose(1, 2) for _ in range(3)]
        attend = partial(nnf.scaled_dot_product_attention, *qkv)
        work = 4 * ROWS * HEADS * cells**2 * width, 2 * 4 * ROWS * HEADS * cells * width
        with sdpa_kernel(backend):
            yield _kernel("attention", f"{cells} cells, heads of {width}", backend.name, attend, *work)


def _kernel(kind: str, name: str, way: str, call: Callable[[], Any], operations: int, size_bytes: int) -> Row:
    row: Row = {"kind": kind, "name": name, "way": way, "tflop": operations / 1e12, "gigabytes": size_bytes / 1e9}
    try:
        taken_ms = ms(call)
    except RuntimeError:  # this backend is not here
        return row
    return {**row, "ms": taken_ms, "tflops": operations / taken_ms / 1e9}


@torch.inference_mode()
def main() -> None:
    """Print rows as they come."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("size", choices=SIDES, nargs="?", default="full")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    folder, size, device = asked.folder, asked.size, hardware.device()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    if not (folder / "motion").is_dir():
        weights.write(folder, size, device)
    rows = []
    for found in (kernels(SIDES[size], device, dtype), passes(folder, SIDES[size], device, dtype)):
        for row in found:
            rows.append(row)
            print(*(f"{value:.3f}" if isinstance(value, float) else value for value in row.values()), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps({"bench": "kernels", "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
