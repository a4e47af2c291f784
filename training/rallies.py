"""Rallies of a daily level by rule: from a low to the close that lies a given share below the highest since."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rally:
    """One rally: the day of its low, of its highest close, and of its end (None while it goes on, which `last` then bounds).

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
        """From the low to the end, or so far."""
        return (self.last - self.low).days


def rallies(level: pd.Series, *, rise: float, fall: float, low_days: int) -> list[Rally]:
    """Every rally of `level` in order, each found with what was there by its day.

    One is on once a close stands `rise` above the lowest close of the `low_days` days before (since the rally before ended); it
    ends with the first close `fall` below its highest. Days without a level are passed over.
    """
    closes, found = level.dropna(), []
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
            found.append(described(closes, low, high, day, over=True))
            since, low = day, -1
    return found if low < 0 else [*found, described(closes, low, high, len(values) - 1, over=False)]


def described(closes: pd.Series, low: int, high: int, last: int, *, over: bool) -> Rally:
    """A rally between rows of `closes`."""
    way_up = closes.to_numpy(dtype=np.float64)[low : high + 1]
    pullback = float((way_up / np.maximum.accumulate(way_up)).min() - 1)
    days = pd.DatetimeIndex(closes.index)
    return Rally(days[low], days[high], days[last] if over else None, days[last], float(way_up[-1] / way_up[0] - 1), pullback)
