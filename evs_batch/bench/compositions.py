"""Table 2 at home: the compositions of T2I and T2V against each other."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evs_batch.bench.quality import LEVEL
from evs_batch.spec.recipe import Recipe, parse_recipe

EVS, VAE_ONLY = "T2I+[T2V]+T2I", "VAE"
ONE_BY_ONE = ("T2I+T2V", "T2V+T2I")
PAPER = ("T2I", "T2V", *ONE_BY_ONE, EVS)


def compositions(recipe: Recipe) -> dict[str, Recipe]:
    """The five of the paper and 'VAE only', with the settings of one recipe."""
    return {name: parse_recipe({**recipe.model_dump(), "composition": name}) for name in (VAE_ONLY, *PAPER)}


def verdicts(rows: Sequence[Mapping[str, Any]], resampled: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, bool]:
    """The pattern of the paper's Table 2, statement by statement, and whether these clips bear it out."""
    row = {row["composition"]: row for row in rows}

    def apart(key: str, better: str, worse: str) -> bool:
        return row[better][f"{key}_interval"][0] > row[worse][f"{key}_interval"][1]

    def surely(key: str, better: str, worse: str) -> bool:
        """Clip by clip: the interval of the difference does not hold zero."""
        return bool(np.quantile(resampled[better][key][1:] - resampled[worse][key][1:], (1 - LEVEL) / 2) > 0)

    def nearer(name: str, to: str, than: str) -> bool:
        return all(
            abs(row[name][k] - row[to][k]) < abs(row[name][k] - row[than][k]) for k in ("imaging", "consistency")
        )

    def rest(*left_out: str) -> list[str]:
        return [name for name in PAPER if name not in left_out]

    return {
        "T2I beats T2V in imaging, intervals apart": apart("imaging", "T2I", "T2V"),
        "T2V beats T2I in consistency, intervals apart": apart("consistency", "T2V", "T2I"),
        "T2I is the best in imaging": all(surely("imaging", "T2I", n) for n in rest("T2I")),
        "T2I is the worst in consistency": all(surely("consistency", n, "T2I") for n in rest("T2I")),
        "T2V is the worst in imaging": all(surely("imaging", n, "T2V") for n in rest("T2V")),
        "T2V is the best in consistency": all(surely("consistency", "T2V", n) for n in rest("T2V")),
        "T2I+T2V is nearer to T2V than to T2I": nearer("T2I+T2V", "T2V", "T2I"),
        "T2V+T2I is nearer to T2I than to T2V": nearer("T2V+T2I", "T2I", "T2V"),
        "EVS is first in overall": all(surely("overall", EVS, n) for n in rest(EVS)),
        "EVS is first in overall, intervals apart": all(apart("overall", EVS, n) for n in rest(EVS)),
        "EVS needs fewer evaluations than one model after the other": all(
            row[EVS]["evaluations"] < row[n]["evaluations"] for n in ONE_BY_ONE
        ),
        "EVS needs less time than one model after the other": all(
            row[EVS]["seconds"] < row[n]["seconds"] for n in ONE_BY_ONE
        ),
        "EVS beats 'VAE only' in imaging": surely("imaging", EVS, VAE_ONLY),
        "EVS beats 'VAE only' in consistency": surely("consistency", EVS, VAE_ONLY),
    }
