"""How fast a run goes, and when it will be done."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

WINDOW_S = 120.0  # rates are those of so long a time
EVERY_S = 2.0


class Look(NamedTuple):
    """At a time: frames that each stage has done, and seconds of all of its calls."""

    now_s: float
    frames: Mapping[str, int]
    busy_s: Mapping[str, float]


@dataclass
class Rates:
    """Fed now and then; the last two minutes count."""

    _looks: deque[Look] = field(default_factory=deque)

    def take(self, look: Look) -> None:
        """Remember how far the run is."""
        if self._looks and look.now_s - self._looks[-1].now_s < EVERY_S:
            return
        self._looks.append(look)
        while len(self._looks) > 2 and look.now_s - self._looks[1].now_s >= WINDOW_S:
            self._looks.popleft()

    def frames_per_s(self) -> dict[str, float]:
        """Of each stage."""
        if len(self._looks) < 2:
            return {}
        first, last = self._looks[0], self._looks[-1]
        seconds = last.now_s - first.now_s
        return {name: (count - first.frames.get(name, 0)) / seconds for name, count in last.frames.items()}

    def eta_s(self, frames: float) -> float | None:
        """Seconds until so many frames have passed every stage; None before each stage has done some.

        What calls take is counted, not clips that are finished: so clips on their way count by how far they are. Until
        every stage has done some, workers are starting, which says nothing of what follows.
        """
        working = [look for look in self._looks if all(look.frames.values())]
        if not working:
            return None
        first, last = working[0], working[-1]
        gone_s = sum(last.busy_s.values()) - sum(first.busy_s.values())
        if gone_s <= 0:
            return None
        left_s = sum(
            busy_s / last.frames[name] * max(0.0, frames - last.frames[name]) for name, busy_s in last.busy_s.items()
        )
        return left_s * (last.now_s - first.now_s) / gone_s
