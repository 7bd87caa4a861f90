"""The windows of a whole clip."""

from evs_batch.algo.windows import Grid, Plan, plan_windows


def windows_of(frames: int, width: int = 16, overlap: int = 8) -> Plan:
    """The same at every timestep."""
    whole = range(frames)
    return lambda _: plan_windows(Grid(width=width, overlap=overlap), whole, whole, (), frames, [0])[0]
