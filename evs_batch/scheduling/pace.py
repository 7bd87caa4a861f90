"""Measured service times: how long a frame takes in each stage, and how long models take to load."""

from dataclasses import dataclass, field

from evs_batch.spec.work import Role

WEIGHT = 0.2  # of the newest measurement in a moving average


@dataclass
class Pace:
    """Moving averages: seconds per frame by stage, seconds per load by role; none where nothing is measured yet."""

    frame_s: dict[int, float] = field(default_factory=dict)
    load_s: dict[Role, float] = field(default_factory=dict)

    def call(self, at: int, frames: int, seconds: float) -> None:
        """Take the time of a call."""
        new_s = max(seconds, 1e-6) / max(1, frames)
        self.frame_s[at] = new_s + (1 - WEIGHT) * (self.frame_s.get(at, new_s) - new_s)

    def load(self, role: Role, seconds: float) -> None:
        self.load_s[role] = seconds + (1 - WEIGHT) * (self.load_s.get(role, seconds) - seconds)
