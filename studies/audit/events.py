"""First passages after given days, their p-value against shifted days, and rallies by rule. Pure functions on series."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.arrays import Floats, Ints
from evaluation.permutation import shift_p


@dataclass(frozen=True)
class FirstPassage:
    """For each day of a daily level (n,): `wait`, the days until the first close higher by the rise (inf: none within the days
    ahead), and `seen`, the number of days ahead without a missing close (-1 where the day's own close is missing).
    """

    wait: pd.Series
    seen: pd.Series


def first_passage(level: pd.Series, rise: float, longest: int) -> FirstPassage:
    """First closes at least (1 + rise) times the day's own, up to `longest` days ahead. level: one row a calendar day."""
    closes = level.to_numpy(dtype=np.float64)
    wait = np.full(len(closes), np.inf)
    for days in range(min(longest, len(closes) - 1), 0, -1):
        wait[:-days][closes[days:] >= (1 + rise) * closes[:-days]] = days
    return FirstPassage(pd.Series(wait, level.index), pd.Series(days_seen(closes), level.index))


def days_seen(closes: Floats) -> Ints:
    """Number of days (n,) after each row until the first missing or future close; -1 where the row's own is missing."""
    missing = np.append(np.flatnonzero(np.isnan(closes)), len(closes))
    rows = np.arange(len(closes))
    return missing[np.searchsorted(missing, rows)] - rows - 1


def event_occurred(passage: FirstPassage, first: int, last: int) -> pd.Series:
    """1 where the first passage fell on day `first` to `last`, else 0; NaN where a close up to `last` is missing."""
    return passage.wait.between(first, last).astype(np.float64).where(passage.seen >= last)


def rotation_p(events: Floats, chosen: Ints) -> float:
    """p-value of the hits: share of the n circular shifts of the `chosen` rows along `events` (n,; 0 or 1) with as many hits.

    The true position is one of the shifts. A shift keeps the distances between the chosen rows.
    """
    return shift_p(np.asarray(sum(np.roll(events, -row) for row in chosen)))


@dataclass(frozen=True)
class Rally:
    """One rally: the days of its low, of its highest close, and of its end (None while it lasts; `last` is then the last day).

    `rise`: highest close over the low, less 1. `pullback`: deepest fall from the highest close so far, between low and high (≤ 0).
    """

    low: pd.Timestamp
    high: pd.Timestamp
    end: pd.Timestamp | None
    last: pd.Timestamp
    rise: float
    pullback: float

    @property
    def days(self) -> int:
        """Days from the low to the end, or to the last day."""
        return (self.last - self.low).days


def rallies(level: pd.Series, *, rise: float, fall: float, low_days: int) -> list[Rally]:
    """All rallies of a level in order, each detected from the closes up to its day.

    A rally begins when a close is `rise` above the lowest close of the last `low_days` days (since the previous rally ended). It
    ends with the first close `fall` below its highest close. Days without a level are skipped.
    """
    closes, past_rallies = level.dropna(), []
    values, since, low, high = closes.to_numpy(dtype=np.float64), 0, -1, -1
    for day, value in enumerate(values):
        if low < 0:
            first = max(since, day - low_days)
            lowest = first + int(values[first : day + 1].argmin())
            if value >= (1 + rise) * values[lowest]:
                low, high = lowest, day
        elif value > values[high]:
            high = day
        elif value <= (1 - fall) * values[high]:
            past_rallies.append(rally_between(closes, low, high, day, over=True))
            since, low = day, -1
    return past_rallies if low < 0 else [*past_rallies, rally_between(closes, low, high, len(values) - 1, over=False)]


def rally_between(closes: pd.Series, low: int, high: int, last: int, *, over: bool) -> Rally:
    """A rally between rows of `closes`."""
    way_up = closes.to_numpy(dtype=np.float64)[low : high + 1]
    pullback = float((way_up / np.maximum.accumulate(way_up)).min() - 1)
    days = pd.DatetimeIndex(closes.index)
    return Rally(days[low], days[high], days[last] if over else None, days[last], float(way_up[-1] / way_up[0] - 1), pullback)
