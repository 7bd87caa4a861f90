"""Clips of any length under a motion module of fixed width: overlapping windows, blended with ramps.

Model outputs are blended, not clean latents: x0 is linear in the output for a given z, so both give the same, and a
windowed model is a model like any other.

Windows lie on a grid of absolute frame numbers, and at the ends of every shot. So a few frames around a segment are
enough to know its windows: a segment comes out as it does in the whole clip.
"""

# F frames of a clip, W windows, K frames of a window, C latent channels, h/w latent cells

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """Frame numbers that one window shows (reflected at the end of a short shot) and the weight of each."""

    frames_K: Tensor
    weights_K: Tensor

    def moved(self, by: int) -> "Window":
        """The same window where frames are numbered otherwise."""
        return Window(self.frames_K + by, self.weights_K)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """How windows cover a shot: `width` frames each, of which neighbours share `overlap` or more."""

    width: int
    overlap: int

    @property
    def stride(self) -> int:
        return self.width - self.overlap

    def shift(self, step: int) -> int:
        """Frames by which the windows of a step are moved, so that no frame is always at an edge (van der Corput)."""
        place, fraction = 0.5, 0.0
        while step:
            step, bit = divmod(step, 2)
            fraction, place = fraction + bit * place, place / 2
        return int(self.stride * fraction)

    def starts(self, shot: range, shift: int) -> list[int]:
        """First frames of the windows of a shot: its own first, the grid's, and the last that fits."""
        if len(shot) <= self.width:
            return [shot.start]
        after = shot.start + 1
        first = after + (shift - after) % self.stride
        return [shot.start, *range(first, shot.stop - self.width, self.stride), shot.stop - self.width]

    def window(self, start: int, shot: range) -> Window:
        """The window that begins there, with weights that rise and fall over the overlap but not at a shot's ends."""
        position = torch.arange(self.width)
        if len(shot) <= self.width:
            return Window(shot.start + reflect(position, len(shot)), (position < len(shot)).float())
        rise = ((position + 1) / (self.overlap + 1)).clamp(max=1.0)
        ones = torch.ones(self.width)
        at_start, at_end = start == shot.start, start + self.width == shot.stop
        return Window(start + position, torch.minimum(ones if at_start else rise, ones if at_end else rise.flip(0)))


def plan_windows(
    grid: Grid, own: range, seen: range, cuts: Iterable[int], frames: int, shifts: Sequence[int]
) -> list[list[Window]]:
    """The windows of each evaluation in turn, of a segment `own` that sees frames `seen` of a clip of `frames`.

    Only windows that `own` depends on in the end. `cuts` are first frames of shots; `shifts` has a number for each
    evaluation. A window that needs frames beyond `seen` is moved within: where `seen` reaches `width` - 1 frames for
    every evaluation and one more beyond `own`, there is none, and the segment is as in the whole clip.
    """
    shots, plans = _shots(grid, seen, cuts, frames), []
    for shift in reversed(shifts):
        windows = {}
        for shot in shots:
            known = range(max(shot.start, seen.start), min(shot.stop, seen.stop))
            for start in grid.starts(shot, shift):
                if start < own.stop and own.start < min(start + grid.width, shot.stop):
                    within = max(known.start, min(start, known.stop - grid.width))
                    windows[within] = grid.window(within, shot if len(known) > grid.width else known)
        shown = [frame for window in windows.values() for frame in window.frames_K.tolist()]
        own = range(min(shown), max(shown) + 1)
        plans.append([windows[start] for start in sorted(windows)])
    return plans[::-1]


def _shots(grid: Grid, seen: range, cuts: Iterable[int], frames: int) -> list[range]:
    """The shots of the frames that are seen; those that go on beyond them are taken to go on for long."""
    beyond = 2 * grid.width
    start = seen.start - (beyond if seen.start > 0 else 0)
    stop = seen.stop + (beyond if seen.stop < frames else 0)
    inner = sorted({cut for cut in cuts if seen.start < cut < seen.stop})
    if seen.start in cuts:
        start = seen.start
    return [range(a, b) for a, b in zip([start, *inner], [*inner, stop], strict=True)]


def reflect(index: Tensor, length: int) -> Tensor:
    """Fold frame numbers into 0..length-1 by reflection without repeating the ends."""
    period = max(1, 2 * (length - 1))
    folded = index % period
    return torch.minimum(folded, period - folded)


Plan = Callable[[float], list[Window]]  # the windows of one clip at a timestep


def windowed(
    model: Callable[[Tensor, Tensor, Tensor], Tensor], plans: Sequence[Plan], lengths: Sequence[int]
) -> Callable[[Tensor, Tensor], Tensor]:
    """A model of all frames of several clips from `model(z_WKChw, t, place_W2)`, which sees windows.

    A place is the number of a window's clip and the row of its first frame. Frames without a window come out as zero.
    """
    offsets = [sum(lengths[:clip]) for clip in range(len(lengths))]

    def predict(z_FChw: Tensor, t: Tensor) -> Tensor:
        found = [
            (clip, at, window)
            for clip, (at, plan) in enumerate(zip(offsets, plans, strict=True))
            for window in plan(float(t))
        ]
        index_WK = torch.stack([window.frames_K + at for _, at, window in found]).to(z_FChw.device)
        weight_WK = torch.stack([window.weights_K for *_, window in found]).to(z_FChw)
        place_W2 = torch.tensor([[clip, at + int(window.frames_K[0])] for clip, at, window in found])
        output_WKChw = model(z_FChw[index_WK], t, place_W2).to(z_FChw.dtype)
        total, rows = torch.zeros_like(z_FChw), index_WK.flatten()
        total.index_add_(0, rows, (output_WKChw * weight_WK[:, :, None, None, None]).flatten(0, 1))
        share = torch.zeros_like(z_FChw[:, 0, 0, 0]).index_add_(0, rows, weight_WK.flatten())
        return total / torch.where(share > 0, share, 1)[:, None, None, None]

    return predict
