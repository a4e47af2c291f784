"""Past Sundays that looked like this day, what followed them, and how unusual the day is."""

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
    """A past Sunday: distance from today, whether the rally came within each horizon, the index from there on (day 0 is 1)."""

    as_of: str
    distance: float
    came: dict[int, bool]
    path: list[float | None]


@dataclass(frozen=True)
class Analogues:
    """Similar moments, nearest first; today's distance from the middle of `rows` past Sundays, the share of those not farther."""

    moments: list[Analogue]
    distance: float
    percentile: float
    rows: int
    base_rates: dict[int, float]

    @property
    def unusual(self) -> bool:
        """Whether the model is asked about something it has hardly seen."""
        return self.percentile > UNUSUAL


def analogues(today: pd.Series, past: pd.DataFrame, events: pd.DataFrame, level: pd.Series) -> Analogues | None:
    """What is like today among past Sundays all of whose outcomes are known; None where they are too few to say.

    today (p,) and past (n, p): composites; events (n, K): 0, 1 or NaN; level: the altcoin index by day. Distances are
    Mahalanobis's, in the covariance of those Sundays.
    """
    complete = events.notna().all(axis=1)
    rows, came = past[complete], events[complete]
    if len(rows) <= 2 * len(today):
        return None
    placed = rows.to_numpy() @ (whiten := whitening(rows.to_numpy()))
    here, middle = today.to_numpy() @ whiten, placed.mean(axis=0)
    near = pd.Series(lengths(placed - here), rows.index)
    own, others = lengths(here - middle), lengths(placed - middle)
    return Analogues(
        moments=[analogue(day, float(near[day]), came[came.index == day], level) for day in apart_in_time(near)],
        distance=float(own),
        percentile=float((others <= own).mean()),
        rows=len(rows),
        base_rates=dict(zip(map(int, came.columns), came.mean().tolist(), strict=True)),
    )


def lengths(vectors: Floats) -> Floats:
    """Euclidean lengths along the last axis."""
    return np.asarray(np.sqrt((vectors**2).sum(axis=-1)))


def whitening(rows: Floats) -> Floats:
    """A matrix W (p, p): (x − y) W has the length of their Mahalanobis distance; what never varies counts for nothing."""
    values, vectors = np.linalg.eigh(np.cov(rows, rowvar=False))
    return np.asarray(vectors / np.sqrt(np.where(values > 1e-9, values, np.inf)))


def apart_in_time(near: pd.Series) -> Sequence[pd.Timestamp]:
    """The nearest days, none within 13 weeks of a nearer one."""
    chosen: list[pd.Timestamp] = []
    for day in near.sort_values(kind="stable").index:
        if all(abs(day - other) >= APART for other in chosen):
            chosen.append(day)
        if len(chosen) == MOST:
            break
    return chosen


def analogue(day: pd.Timestamp, distance: float, came: pd.DataFrame, level: pd.Series) -> Analogue:
    """One similar Sunday and what followed; `came` is its row of outcomes."""
    longest = max(map(int, came.columns))
    ahead = level.reindex(pd.date_range(day, periods=longest + 1)) / level.get(day, np.nan)
    return Analogue(
        as_of=f"{day:%Y-%m-%d}",
        distance=distance,
        came=dict(zip(map(int, came.columns), map(bool, came.iloc[0].tolist()), strict=True)),
        path=[float(value) if np.isfinite(value) else None for value in ahead],
    )
