"""Clips, their segments, and the stages that they pass."""

from dataclasses import dataclass, replace
from string import ascii_lowercase
from typing import Literal, NamedTuple

from evs_batch.spec.recipe import Recipe

Role = Literal["media", "t2i", "t2v"]
Artifact = Literal["frames", "cuts", "colours", "x0", "eps"]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One manifest row: one video and what to do with it."""

    id: str
    uri: str
    prompt: str
    negative_prompt: str = ""
    seed: int
    strength: float | None = None  # of T2I, instead of the recipe's
    number: int = 0  # of the row


class Unit(NamedTuple):
    """What is worked on: one segment of a clip. Before the probe and after the last segment it is the clip's first."""

    clip: str
    segment: int = 0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stop of a segment: who serves it, what it needs from earlier stops and what it leaves for later ones.

    Of other segments it may look at frames `around` its own, or at the clip's `first`. With `in_turn`, the segments of
    a clip go to one worker. With `whole`, it is told all timestamps of the clip. A stage `of_clip`
    takes all frames of a clip at once.
    """

    name: str
    role: Role
    visit: int = 0
    needs: tuple[Artifact, ...] = ()
    gives: tuple[Artifact, ...] = ()
    around: int = 0
    first: bool = False
    in_turn: bool = False
    whole: bool = False
    of_clip: bool = False


COLOURS_AROUND = 8  # frames on each side that a correction of colours is the mean of

PROBE = Stage(name="probe", role="media", of_clip=True)
DECODE = Stage(name="decode", role="media", gives=("frames", "cuts"), in_turn=True, whole=True)
ENCODE = Stage(name="encode", role="media", needs=("frames",))
JOIN = Stage(name="join", role="media", whole=True, of_clip=True)  # of clips that are more than one segment


def model_stages(recipe: Recipe) -> tuple[Stage, ...]:
    """The stages between decoding and encoding: T2I, then T2V and T2I again for every switch.

    A visit without steps is there for the VAE, which lives with the T2I.
    """
    if recipe.composition == "identity":
        return ()
    switches, first_frame = recipe.switches, recipe.t2i.attention == "first_frame"
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
                first=first_frame,
            )
        )
        if visit < len(switches):
            name = "t2v" if len(switches) == 1 else f"t2v_{_letters(visit)}"
            needs: tuple[Artifact, ...] = ("x0", *mixed, "cuts")
            around = recipe.t2v_context
            stages.append(Stage(name=name, role="t2v", visit=visit, needs=needs, gives=("x0",), around=around))
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
    """All stages, in order: the first and the last one are a clip's, those between them are its segments'."""
    if recipe.output.colour_match == "none":
        return (PROBE, DECODE, *model_stages(recipe), ENCODE, JOIN)
    decode = replace(DECODE, gives=(*DECODE.gives, "colours"))
    encode = replace(ENCODE, needs=(*ENCODE.needs, "cuts", "colours"), around=COLOURS_AROUND)
    return (PROBE, decode, *model_stages(recipe), encode, JOIN)
