"""What differs between families of diffusion models: how prompts are embedded, and how a U-Net is given them.

A family is one line in `FAMILIES`; `T2ISource.family` names it.
"""

# N prompts, B frames of a forward pass, W windows, K frames of a window, T tokens, D text width,
# C latent channels, h/w latent cells

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from evs_batch.models import loading, sdxl
from evs_batch.models.hardware import Hardware
from evs_batch.models.parts import Call, TextEncoder, call_unet
from evs_batch.models.zoo import T2ISource

Text = Callable[[list[str]], Tensor]  # prompts -> (N, T, D)


@dataclass(frozen=True)
class Family:
    """`load_text` gives what embeds prompts; `call` is one forward pass, (unet, z, t, text of each frame) -> output.

    `z` is (B, C, h, w) for a T2I and (W, C, K, h, w) for a T2V.
    """

    load_text: Callable[[T2ISource, Hardware, loading.Pickles], Text]
    call: Call


def _load_clip(source: T2ISource, hardware: Hardware, pickles: loading.Pickles) -> Text:
    return TextEncoder(*loading.load_text(source, pickles), hardware)


_SD1 = Family(_load_clip, call_unet)
FAMILIES: Mapping[str, Family] = {
    "tiny": _SD1,
    "sd1": _SD1,
    "sdxl": Family(sdxl.load_text, sdxl.call),
}
