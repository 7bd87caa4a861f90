"""The bridge between models whose autoencoders differ: clean latents become pictures, and latents of the other kind."""

# F frames, C latent channels, h/w latent cells of one autoencoder or the other

from torch import Tensor

from evs_batch.models.parts import Vae, pad_sides


class PixelBridge:
    """From T2I's latents into T2V's and back. Pictures in between have 8 bits, as those of the result."""

    def __init__(self, t2i: Vae, t2v: Vae, multiple: int) -> None:
        self._t2i, self._t2v, self._multiple_px = t2i, t2v, t2v.factor_px * multiple

    def into(self, z_FChw: Tensor) -> Tensor:
        """T2I's latents as T2V's; sides are padded to what its U-Net can halve."""
        return self._t2v.encode(pad_sides(self._t2i.decode(z_FChw), self._multiple_px))

    def back(self, z_FChw: Tensor, height: int, width: int) -> Tensor:
        """T2V's latents as T2I's of that many cells."""
        frames_FHW3 = self._t2v.decode(z_FChw)
        return self._t2i.encode(frames_FHW3[:, : height * self._t2i.factor_px, : width * self._t2i.factor_px])

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Cells of T2V's latents for T2I's of that many."""
        padded = [-(-side * self._t2i.factor_px // self._multiple_px) * self._multiple_px for side in (height, width)]
        return padded[0] // self._t2v.factor_px, padded[1] // self._t2v.factor_px
