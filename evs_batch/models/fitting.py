"""How many frames fit in a forward pass: tried from the most down, and known from then on for each picture size."""

from collections.abc import Callable, Hashable
from typing import TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

Made = TypeVar("Made")


class Fitting:
    """Halves what does not fit the device, down to `least`; before, the owner is to `forget` what an attempt left."""

    def __init__(self, most: int, least: int, forget: Callable[[], None]) -> None:
        self._most, self._least, self._forget = most, least, forget
        self._known = dict[Hashable, int]()

    def __call__(self, size: Hashable, call: Callable[[int], Made]) -> Made:
        """What `call` gives for as many frames as fit with pictures of this size; raises what it does for `least`."""
        while True:
            frames = self._known.get(size, self._most)
            try:
                return call(frames)
            except Exception as error:
                if frames <= self._least or not _full(error):
                    raise
                error.__traceback__ = None  # it holds what the pass has made
            self._known[size] = max(self._least, frames // 2)
            self._forget()
            clear_device_cache()

    @property
    def fewest(self) -> int:
        """In a forward pass of the largest pictures so far: the fewest."""
        return min(self._known.values(), default=self._most)


def _full(error: Exception) -> bool:
    """Whether the device's or the node's memory has run out."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or should_reduce_batch_size(error)
