"""Object references of clips in flight: what each clip has in the object store, and for how long."""

from collections.abc import Sequence
from typing import Any

from evs_batch.spec.work import Artifact, Stage


class Artifacts:
    """References by clip and name; those that no later stage needs are dropped, which frees the memory."""

    def __init__(self, path: Sequence[Stage]) -> None:
        self._refs: dict[str, dict[Artifact, Any]] = {}
        self._kept_after = {stage.name: _kept(path[at + 1 :]) for at, stage in enumerate(path)}

    def inputs(self, stage: Stage, clips: Sequence[str]) -> list[Any]:
        """The references that a call needs, clip by clip."""
        return [self._refs[clip][name] for clip in clips for name in stage.needs]

    def keep(self, stage: Stage, clips: Sequence[str], given: Sequence[Any]) -> None:
        """Take what a finished call gave."""
        width = len(stage.gives)
        kept = self._kept_after[stage.name]
        for at, clip in enumerate(clips):
            made = dict(zip(stage.gives, given[at * width : (at + 1) * width], strict=True))
            merged = {**self._refs.get(clip, {}), **made}
            self._refs[clip] = {name: ref for name, ref in merged.items() if name in kept}

    def drop(self, clip: str) -> None:
        """Forget a finished clip."""
        self._refs.pop(clip, None)


def _kept(later: Sequence[Stage]) -> set[Artifact]:
    """What is read later before it is made anew."""
    kept: set[Artifact] = set()
    for stage in reversed(later):
        kept = (kept - set(stage.gives)) | set(stage.needs)
    return kept
