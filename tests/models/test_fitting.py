"""How many frames fit in a forward pass."""

from typing import Any

import pytest
import torch

from evs_batch.models import loading, zoo
from evs_batch.models.fitting import Fitting
from evs_batch.models.hardware import Hardware
from evs_batch.models.parts import T2I

CPU = Hardware(torch.device("cpu"), torch.float32)
FULL = torch.OutOfMemoryError("Allocation would exceed allowed memory. (out of memory)")


class Device:
    """Holds so many cells of pictures at once, and writes down what is tried."""

    def __init__(self, cells: int) -> None:
        self.cells, self.tried, self.forgot = cells, list[tuple[int, int]](), 0

    def forget(self) -> None:
        self.forgot += 1

    def passes(self, size: int, frames: int) -> str:
        self.tried.append((size, frames))
        if size * frames > self.cells:
            raise FULL
        return f"{frames} of {size}"


def test_as_many_frames_as_fit_are_found_once_for_each_size():
    device = Device(cells=40)
    fitting = Fitting(16, 1, device.forget)
    made = [fitting(size, lambda frames, size=size: device.passes(size, frames)) for size in (2, 9, 9, 2)]
    assert made == ["16 of 2", "4 of 9", "4 of 9", "16 of 2"]
    assert device.tried == [(2, 16), (9, 16), (9, 8), (9, 4), (9, 4), (2, 16)]
    assert (fitting.fewest, device.forgot) == (4, 2)


def test_the_least_that_does_not_fit_is_an_error():
    device = Device(cells=5)
    fitting = Fitting(6, 2, device.forget)
    with pytest.raises(torch.OutOfMemoryError):
        fitting(3, lambda frames: device.passes(3, frames))
    assert device.tried == [(3, 6), (3, 3), (3, 2)]


def test_other_errors_are_not_tried_again():
    def fail(frames: int) -> None:
        raise RuntimeError(f"shapes of {frames} frames do not agree")

    with pytest.raises(RuntimeError, match="16 frames"):
        Fitting(16, 1, lambda: None)(1, fail)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("options", [{}, {"first_frame": True}, {"cache_interval": 2}])
def test_a_model_that_had_to_find_out_gives_what_one_that_knew_gives(options: dict[str, Any], guidance: float):
    unet = loading.load_unet(zoo.t2i_source("tiny"))
    text, z = torch.randn(1, 8, unet.config["cross_attention_dim"]), torch.randn(8, 4, 8, 8)

    def predicted(t2i: T2I) -> list[torch.Tensor]:
        predict = t2i.prompted(text, text, lambda _: guidance, [8])
        return [predict(z, torch.tensor(t)) for t in (20, 10)]

    tight = T2I(unet, CPU, 8, **options)
    call: Any = tight._call

    def little_room(unet: Any, z: torch.Tensor, *rest: Any) -> torch.Tensor:
        if len(z) > (2 if guidance == 1 else 4):
            raise FULL
        return call(unet, z, *rest)

    tight._call = little_room
    for found, known in zip(predicted(tight), predicted(T2I(unet, CPU, 2, **options)), strict=True):
        assert torch.equal(found, known)
    assert tight.forward_frames == 2


def test_small_pictures_go_on_as_many_at_once_after_large_ones():
    unet, sizes = loading.load_unet(zoo.t2i_source("tiny")), list[tuple[int, int]]()
    t2i = T2I(unet, CPU, 8)
    call: Any = t2i._call

    def little_room(unet: Any, z: torch.Tensor, *rest: Any) -> torch.Tensor:
        sizes.append((len(z), z.shape[-1]))
        if z[:, 0].numel() > 2 * 16 * 16:
            raise FULL
        return call(unet, z, *rest)

    t2i._call = little_room
    text = torch.randn(1, 8, unet.config["cross_attention_dim"])
    for side, guidance in ((16, 1.0), (8, 1.0), (8, 2.0), (8, 1.0)):
        t2i.prompted(text, text, lambda _, g=guidance: g, [8])(torch.randn(8, 4, side, side), torch.tensor(10))
    assert sizes[2:7] == [(2, 16)] * 4 + [(8, 8)], "8 and 4 of the large ones did not fit"
    assert sizes[7:] == [(16, 8), (8, 8), (8, 8), (8, 8)], "with guidance, 4 do; without it, still 8"
