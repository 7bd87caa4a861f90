"""Clips and the stages that they pass."""

from dataclasses import dataclass
from string import ascii_lowercase
from typing import Literal

from evs_batch.spec.recipe import Recipe

Role = Literal["media", "t2i", "t2v"]
Artifact = Literal["frames", "x0", "eps"]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One manifest row: one video and what to do with it."""

    id: str
    uri: str
    prompt: str
    negative_prompt: str = ""
    seed: int
    strength: float | None = None  # of T2I, instead of the recipe's


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stop of a clip: who serves it, what it needs from earlier stops and what it leaves for later ones."""

    name: str
    role: Role
    visit: int = 0
    needs: tuple[Artifact, ...] = ()
    gives: tuple[Artifact, ...] = ()


PROBE = Stage(name="probe", role="media")
DECODE = Stage(name="decode", role="media", gives=("frames",))
ENCODE = Stage(name="encode", role="media", needs=("frames",))


def model_stages(recipe: Recipe) -> tuple[Stage, ...]:
    """The stages between decoding and encoding: T2I, then T2V and T2I again for every switch.

    A visit without steps is there for the VAE, which lives with the T2I.
    """
    if recipe.composition == "identity":
        return ()
    switches = recipe.switches
    mixed: tuple[Artifact, ...] = ("eps",) if recipe.t2v.entry == "mixed" and "T2V" in recipe.composition else ()
    stages = []
    for visit in range(len(switches) + 1):
        stages.append(
            Stage(
                name=f"t2i_{_letters(visit)}",
                role="t2i",
                visit=visit,
                needs=("x0", *_noise_kept(recipe, visit - 1)) if visit else ("frames",),
                gives=("x0", *_noise_kept(recipe, visit), *mixed) if visit < len(switches) else ("frames",),
            )
        )
        if visit < len(switches):
            name = "t2v" if len(switches) == 1 else f"t2v_{_letters(visit)}"
            stages.append(Stage(name=name, role="t2v", visit=visit, needs=("x0", *mixed), gives=("x0",)))
    return tuple(stages)


def _noise_kept(recipe: Recipe, switch: int) -> tuple[Artifact, ...]:
    """T2I's own noise, where it leaves it at a switch to come back to it."""
    under_way = 0 < recipe.switches[switch] < recipe.t2i_steps
    return ("eps",) if under_way and recipe.t2i.reentry == "ddim_step" else ()


def _letters(number: int) -> str:
    """a, b, … z, aa, ab, …"""
    more, last = divmod(number, len(ascii_lowercase))
    return (_letters(more - 1) if more else "") + ascii_lowercase[last]


def path(recipe: Recipe) -> tuple[Stage, ...]:
    """All stages of a clip, in order."""
    return (PROBE, DECODE, *model_stages(recipe), ENCODE)
