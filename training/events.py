"""What followed a handful of dates, and how often the same happens on any day. Bare maths; rules: docs/audit.md."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.bootstrap import COVERAGE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Passage:
    """Of each day of a daily level (n,): `wait`, the days until it first closed the asked rise higher (inf: not within those looked
    ahead), and `seen`, for how many days ahead no close is missing (-1 where the day's own is).
    """

    wait: pd.Series
    seen: pd.Series


def first_passage(level: pd.Series, rise: float, longest: int) -> Passage:
    """First closes at least (1 + rise) times the day's own, up to `longest` days ahead. level: one row a calendar day."""
    closes = level.to_numpy(dtype=np.float64)
    wait = np.full(len(closes), np.inf)
    for days in range(min(longest, len(closes) - 1), 0, -1):
        wait[:-days][closes[days:] >= (1 + rise) * closes[:-days]] = days
    return Passage(pd.Series(wait, level.index), pd.Series(days_seen(closes), level.index))


def days_seen(closes: Floats) -> Ints:
    """Days after each row (n,) before the first that is missing or not there yet; -1 where the row itself is missing."""
    missing = np.append(np.flatnonzero(np.isnan(closes)), len(closes))
    rows = np.arange(len(closes))
    return missing[np.searchsorted(missing, rows)] - rows - 1


def came(passage: Passage, first: int, last: int) -> pd.Series:
    """1 where the first passage fell on day `first` to `last`, 0 where it didn't, NaN where not every close to `last` is there."""
    return passage.wait.between(first, last).astype(np.float64).where(passage.seen >= last)


def clopper_pearson(hits: float, n: float) -> tuple[float, float]:
    """Exact 95 % interval of a share; `n` may be an effective number. (0, 1) of nothing. Reference: Clopper & Pearson (1934)."""
    from scipy.stats import beta

    tail = (1 - COVERAGE) / 2
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


def rotation_p(events: Floats, chosen: Ints) -> float:
    """Share of all rotations of the `chosen` rows along the ring of `events` (n,; 0 or 1) that hit at least as many.

    The true position is one of the n rotations. Rotating keeps the distances between the chosen rows.
    """
    hits = sum(np.roll(events, -row) for row in chosen)
    return float(np.mean(hits >= np.asarray(hits)[0]))
