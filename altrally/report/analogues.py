"""Analogues: past Sundays whose inputs were most like a day's, their outcomes, and how unusual the day is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

MOST = 6
APART = pd.Timedelta(weeks=13)
UNUSUAL = 0.99


@dataclass(frozen=True)
class Analogue:
    """A past Sunday: distance from today, whether the event occurred within each horizon, the index from then on (day 0 is 1)."""

    as_of: str
    distance: float
    event_occurred: dict[int, bool]
    path: list[float | None]


@dataclass(frozen=True)
class Analogues:
    """The nearest past Sundays; today's distance from the mean of `rows` past Sundays, and the share that lie no farther."""

    nearest: list[Analogue]
    distance: float
    percentile: float
    rows: int
    base_rates: dict[int, float]

    @property
    def unusual(self) -> bool:
        """Whether today lies farther from the mean than 99 % of past Sundays."""
        return self.percentile > UNUSUAL


def analogues(today: pd.Series, past: pd.DataFrame, events: pd.DataFrame, level: pd.Series) -> Analogues | None:
    """The analogues of today among past Sundays with known outcomes; None where there are too few of them.

    today (p,) and past (n, p): composites; events (n, K): 0, 1 or NaN; level: the altcoin index by day. Distances are
    Mahalanobis's, in the covariance of those Sundays.
    """
    complete = events.notna().all(axis=1)
    rows, outcomes = past[complete], events[complete]
    if len(rows) <= 2 * len(today):
        return None
    matrix = whitening(rows.to_numpy())
    white_rows, white_today = rows.to_numpy() @ matrix, today.to_numpy() @ matrix
    mean = white_rows.mean(axis=0)
    distances = pd.Series(lengths(white_rows - white_today), rows.index)
    own, others = lengths(white_today - mean), lengths(white_rows - mean)
    return Analogues(
        nearest=[
            analogue(day, float(distances[day]), outcomes[outcomes.index == day].iloc[0], level) for day in spaced_days(distances)
        ],
        distance=float(own),
        percentile=float((others <= own).mean()),
        rows=len(rows),
        base_rates=dict(zip(map(int, outcomes.columns), outcomes.mean().tolist(), strict=True)),
    )


def lengths(vectors: Floats) -> Floats:
    """Euclidean lengths along the last axis."""
    return np.asarray(np.sqrt((vectors**2).sum(axis=-1)))


def whitening(rows: Floats) -> Floats:
    """A matrix W (p, p) such that the length of (x − y) W is the Mahalanobis distance; directions without variance count as 0."""
    values, vectors = np.linalg.eigh(np.cov(rows, rowvar=False))
    return np.asarray(vectors / np.sqrt(np.where(values > 1e-9, values, np.inf)))


def spaced_days(distances: pd.Series) -> Sequence[pd.Timestamp]:
    """The nearest days, at most `MOST`, none within 13 weeks of a nearer one."""
    chosen: list[pd.Timestamp] = []
    for day in distances.sort_values(kind="stable").index:
        if all(abs(day - other) >= APART for other in chosen):
            chosen.append(day)
        if len(chosen) == MOST:
            break
    return chosen


def analogue(day: pd.Timestamp, distance: float, outcomes: pd.Series, level: pd.Series) -> Analogue:
    """One analogue; `outcomes`: 0 or 1 by horizon (days)."""
    longest = max(map(int, outcomes.index))
    path = level.reindex(pd.date_range(day, periods=longest + 1)) / level.get(day, np.nan)
    return Analogue(
        as_of=f"{day:%Y-%m-%d}",
        distance=distance,
        event_occurred=dict(zip(map(int, outcomes.index), map(bool, outcomes.tolist()), strict=True)),
        path=[float(value) if np.isfinite(value) else None for value in path],
    )
