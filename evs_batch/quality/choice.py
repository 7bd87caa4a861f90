"""What is measured."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evs_batch.evaluate import FREE, REFERENCE
from evs_batch.evaluate.flow import has_opencv
from evs_batch.spec.errors import ModelError
from evs_batch.spec.version import VERSION

SUBJECT = "subject_consistency"
SOURCE = "source_"  # what begins the columns of the source's metrics


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The metrics of one evaluation and what they need: a column of clean videos, folders of models."""

    reference: str | None = None
    features: Path | None = None
    weights: Path | None = None
    learned: tuple[str, ...] = ()

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics, in the order of their columns."""
        features = [SUBJECT] if self.features else []
        return [*(REFERENCE if self.reference else ()), *FREE, *features, *self.learned]

    def identity(self) -> dict[str, Any]:
        """What two evaluations must share for the rows of one to be good for the other."""
        return {
            "metrics": self.metrics,
            "reference": self.reference,
            "features": self.features and _stamp(self.features),
            "weights": self.weights and _stamp(self.weights),
            "opencv": has_opencv(),
            "evs_version": VERSION,
        }


def choose(reference: str | None, features: Path | None, weights: Path | None) -> Choice:
    """Check the folders of models; raises ModelError."""
    if features and not (features / "config.json").is_file():
        raise ModelError(str(features), "is no model folder of transformers", "name one with a config.json")
    learned = tuple(_present(weights)) if weights else ()
    if features and SUBJECT in learned:
        raise ModelError(f"--features {features}", f"gives {SUBJECT}, and so does --weights", "leave out one of them")
    return Choice(reference=reference, features=features, weights=weights, learned=learned)


def _present(weights: Path) -> list[str]:
    from evs_batch.evaluate.learned import LEARNED, present  # noqa: PLC0415 (it may load torch)

    found = present(weights)
    if not found:
        raise ModelError(str(weights), "holds no weights that are known", f"known: {', '.join(LEARNED)}")
    return found


def _stamp(folder: Path) -> list[list[Any]]:
    """Which files a folder holds; reading gigabytes of weights at every start would take too long."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [[str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
