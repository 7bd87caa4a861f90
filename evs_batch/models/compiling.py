"""Blocks of networks, compiled: each kind once, whose code the next process finds in TORCHINDUCTOR_CACHE_DIR."""

from inspect import signature
from typing import Any

import torch

BLOCKS = frozenset({
    "Transformer2DModel", "AnimateDiffTransformer3D", "ResnetBlock2D", "Downsample2D", "Upsample2D",
    "Encoder", "Decoder", "EncoderTiny", "DecoderTiny",
})  # fmt: skip
ON_CORES = BLOCKS - {"ResnetBlock2D"}  # whose compiled norms are slower there
MOST_VARIANTS = 1024  # of a kind of block: its widths and places, each picture size, with guidance and without
APART = {"isolate_recompiles": True} if "isolate_recompiles" in signature(torch.compile).parameters else {}


def compile_blocks(model: Any, *, dynamic: bool, kinds: frozenset[str] = BLOCKS, apart: bool = False) -> None:
    """Compile the outermost blocks of these kinds when they are first called, for each picture size or for all.

    A call looks for its code among that of all blocks of the kind, or, `apart`, of its own block alone: where blocks
    share none, as on cores.
    """
    config: Any = torch._dynamo.config
    config.recompile_limit = config.accumulated_recompile_limit = MOST_VARIANTS
    for module in model.children():
        if type(module).__name__ in kinds:
            module.compile(dynamic=dynamic, **APART if apart else {})
        else:
            compile_blocks(module, dynamic=dynamic, kinds=kinds, apart=apart)
