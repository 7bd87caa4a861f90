"""Seconds and operations of the parts of a run."""

import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


class Clock:
    """Sums what watched methods take, by the name of their part. To wait for the device after each costs little."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.tflop: dict[str, float] = defaultdict(float)
        self._counter: FlopCounterMode | None = None

    def watch(self, owner: Any, method: str, part: str) -> None:
        """Let a method count for a part."""
        setattr(owner, method, partial(self._run, getattr(owner, method), part))

    def time(self, call: Callable[[], Any]) -> Any:
        """Run it once; `seconds` holds its parts, what is between them, and the total."""
        self.seconds.clear()
        made, total_s = timed(call)
        self.seconds |= {"between": total_s - sum(self.seconds.values()), "total": total_s}
        return made

    def count(self, call: Callable[[], Any]) -> None:
        """Run it once; `tflop` holds the operations of its parts and the total."""
        self.tflop.clear()
        with FlopCounterMode(display=False) as self._counter:
            call()
        self.tflop["total"] = self._counter.get_total_flops() / 1e12
        self._counter = None

    def _run(self, call: Callable[..., Any], part: str, *args: Any, **kwargs: Any) -> Any:
        before = self._counter.get_total_flops() if self._counter else 0
        made, taken_s = timed(partial(call, *args, **kwargs))
        self.seconds[part] += taken_s
        if self._counter:
            self.tflop[part] += (self._counter.get_total_flops() - before) / 1e12
        return made


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and the seconds until the device has done it."""
    wait()
    began_s = time.perf_counter()
    made = call()
    wait()
    return made, time.perf_counter() - began_s


def wait() -> None:
    """Until the device has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
