"""The Overall score of the EVS paper (Su et al., CVPR 2025, section 4.1, Tables 1 and 2)."""

from collections.abc import Mapping

from evs_batch.spec.errors import RunError

# The paper normalises four metrics to ranges that it does not print, and takes the mean. These are fitted to its 17
# printed rows: 16 of them come out within ROUNDING (RMSE 1.2e-4), T2V+T2I of Table 2 (printed 0.8474) does not.
MOTION_SMOOTHNESS_RANGE = 0.07793
SUBJECT_CONSISTENCY_RANGE = 0.12101
AESTHETIC_RANGE = 5.4868
DOVER_TOP = 88.32
LOWER_ENDS = 18.9056  # sum of the lower ends of the first three ranges, each in units of its range
ROUNDING = 4e-4  # what the printed digits leave open


def overall(
    motion_smoothness: float, subject_consistency: float, aesthetic: float, dover: float, dover_source: float
) -> float:
    """Mean of the four normalised metrics; higher is better, 1 is the top of all ranges.

    `dover` is normalised between `dover_source`, the DOVER of the unprocessed videos, and DOVER_TOP: scores compare
    within one set of source videos only. DOVER in 0..100.
    """
    if dover_source >= DOVER_TOP:
        rule = f"must be below {DOVER_TOP}, the top of the range that the paper normalises to"
        raise RunError(f"dover_source={dover_source:.2f}", rule, "compare the four metrics one by one")
    normalised = (
        motion_smoothness / MOTION_SMOOTHNESS_RANGE
        + subject_consistency / SUBJECT_CONSISTENCY_RANGE
        + aesthetic / AESTHETIC_RANGE
        - LOWER_ENDS
        + (dover - dover_source) / (DOVER_TOP - dover_source)
    )
    return normalised / 4


def overall_of(rows: Mapping[str, Mapping[str, float]], source: str) -> dict[str, float]:
    """The Overall of every row of a table, by name; `source` names the row of the unprocessed videos."""
    names = ("motion_smoothness", "subject_consistency", "aesthetic", "dover")
    return {
        key: overall(**{name: row[name] for name in names}, dover_source=rows[source]["dover"])
        for key, row in rows.items()
    }
