"""The work that every system does: the workload of `bench schedule`, as kernels that sleep and arrays that travel."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from evs_batch.bench.schedule import CALL_FRAMES, CALL_S, FRAME_S, FRAMES, workload

Scenario = Literal["none", "killed worker", "poison that raises", "poison that kills"]
SCENARIOS: tuple[Scenario, ...] = ("none", "killed worker", "poison that raises", "poison that kills")
LOAD_S = 0.5  # of one model, so 1 s of both
MEDIA_S = 0.02
LATENT_SHAPE = (4, 64, 64)  # of a frame of 512x512
POISON = "poison"
MODEL_STAGES = tuple(FRAME_S)


@dataclass(frozen=True)
class Work:
    """Clips and their frames, the workers, what goes wrong, and a folder where kernels leave marks."""

    clips: Mapping[str, int]
    workers: int
    scenario: Scenario
    folder: Path

    @property
    def innocent(self) -> set[str]:
        return set(self.clips) - {POISON}


@dataclass
class Clip:
    """What travels: a name, its length, and the latents of its frames."""

    name: str
    frames: int
    latents_FChw: np.ndarray = field(default_factory=lambda: np.zeros((0, *LATENT_SHAPE), np.float32))


def make(count: int, workers: int, scenario: Scenario, folder: Path) -> Work:
    """So many clips; with a poison scenario, one more in their middle."""
    clips = dict(list(workload(count // 8 + 1).items())[:count])
    if scenario.startswith("poison"):
        names = list(clips)
        clips = {**{name: clips[name] for name in names[: count // 2]}, POISON: max(FRAMES) // 2,
                 **{name: clips[name] for name in names[count // 2 :]}}  # fmt: skip
    return Work(clips, workers, scenario, folder)


def load(work: Work, models: int = 1) -> None:
    """What models take to load."""
    time.sleep(LOAD_S * models)
    mark(work, "worker", str(os.getpid()))


def run_stage(work: Work, stage: str, clips: Sequence[Clip]) -> list[Clip]:
    """One call of a stage over some clips; media stages go clip by clip."""
    began_s, names = time.time(), [clip.name for clip in clips]
    if stage not in FRAME_S:
        time.sleep(MEDIA_S * len(clips))
        return [decoded(clip) if stage == "decode" else clip for clip in clips]
    if stage == "t2v" and POISON in names and work.scenario == "poison that raises":
        raise ValueError("poison")
    if stage == "t2v" and POISON in names and work.scenario == "poison that kills":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(CALL_S + FRAME_S[stage] * sum(clip.frames for clip in clips))
    mark(work, "call", f"{began_s:.6f} {time.time():.6f} {stage} {sum(clip.frames for clip in clips)}")
    return [Clip(clip.name, clip.frames, clip.latents_FChw + 1) for clip in clips]


def decoded(clip: Clip) -> Clip:
    return Clip(clip.name, clip.frames, np.zeros((clip.frames, *LATENT_SHAPE), np.float32))


def full_calls(clips: Sequence[Clip]) -> list[list[Clip]]:
    """Clips in their order, in calls of no more frames than one may have."""
    calls: list[list[Clip]] = [[]]
    for clip in clips:
        if calls[-1] and sum(other.frames for other in calls[-1]) + clip.frames > CALL_FRAMES:
            calls.append([])
        calls[-1].append(clip)
    return calls


def mark(work: Work, kind: str, text: str) -> None:
    """Leave a line for the driver, whatever becomes of this process."""
    with (work.folder / f"{kind}-{os.getpid()}").open("a") as file:
        file.write(text + "\n")


def marks(work: Work, kind: str) -> list[list[str]]:
    """The lines that all processes have left."""
    return [line for lines in marks_by_process(work, kind) for line in lines]


def marks_by_process(work: Work, kind: str) -> list[list[list[str]]]:
    """The lines that each process has left."""
    files = sorted(work.folder.glob(f"{kind}-*"))
    return [[line.split() for line in file.read_text().splitlines()] for file in files]
