"""What the parts of the simulated market share: calendars, hidden liquidity, noise with fat tails and clustered volatility."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.tseries.holiday import (
    AbstractHolidayCalendar,
    GoodFriday,
    Holiday,
    USLaborDay,
    USMartinLutherKingJr,
    USMemorialDay,
    USPresidentsDay,
    USThanksgivingDay,
    nearest_workday,
)

from core.arrays import Bools, Floats

Matrices = Mapping[str, npt.NDArray[Any]]

YEARS_BEFORE_COINS = 8
BURN_IN_WEEKS = 104
PERSISTENCE_A_WEEK = 0.93


class Stream(IntEnum):
    """Parts of the market that draw independently: what one draws never moves another."""

    LIQUIDITY = 0
    FACTORS = 1
    FUNDS = 2
    FUND_VOLUME = 3
    MACRO = 4
    STOCKS = 5
    CRYPTO_UNREST = 6
    CRYPTO_FACTORS = 7
    COINS = 8
    LIVES = 9
    COIN_LEVELS = 10
    QUOTE_ERRORS = 11
    COIN_BARS = 12
    STABLECOINS = 13
    PEGS = 14


class ExchangeHolidays(AbstractHolidayCalendar):
    """The regular closing days of US exchanges."""

    rules = [  # noqa: RUF012  (the attribute is pandas' own)
        Holiday("New Year", month=1, day=1, observance=nearest_workday),
        USMartinLutherKingJr,
        USPresidentsDay,
        GoodFriday,
        USMemorialDay,
        Holiday("Independence Day", month=7, day=4, observance=nearest_workday),
        USLaborDay,
        USThanksgivingDay,
        Holiday("Christmas", month=12, day=25, observance=nearest_workday),
    ]


@dataclass(frozen=True)
class Liquidity:
    """The hidden state: a weekly AR(1), scaled to mean 0 and variance 1, read between weeks by a straight line."""

    weeks: pd.DatetimeIndex
    level: Floats

    def at(self, days: pd.DatetimeIndex, *, lag_weeks: int = 0) -> Floats:
        """Level `lag_weeks` before each of `days`; shape (days,)."""
        return np.interp(day_numbers(days) - 7.0 * lag_weeks, day_numbers(self.weeks), self.level)


@dataclass(frozen=True)
class Plan:
    """Span, seed and cascade of one simulated market.

    `start` and `end` bound the coins; stocks, funds and macro series begin `YEARS_BEFORE_COINS` earlier, so that a record close can
    be told from a first one. `strength` scales what liquidity does to coins `lag_weeks` later; 0 cuts the link.
    """

    seed: int
    start: pd.Timestamp
    end: pd.Timestamp
    strength: float
    lag_weeks: int

    @property
    def first(self) -> pd.Timestamp:
        """First day of stocks, funds and macro series."""
        return self.start - pd.DateOffset(years=YEARS_BEFORE_COINS)

    @cached_property
    def days(self) -> pd.DatetimeIndex:
        """Every UTC day on which coins trade."""
        return pd.date_range(self.start, self.end, unit="us")

    @cached_property
    def macro_days(self) -> pd.DatetimeIndex:
        """Every calendar day from `first`."""
        return pd.date_range(self.first, self.end, unit="us")

    @cached_property
    def sessions(self) -> pd.DatetimeIndex:
        """Every day US exchanges are open, from `first`."""
        weekdays = self.macro_days[self.macro_days.day_of_week < 5]
        return weekdays.difference(ExchangeHolidays().holidays(self.first, self.end))

    def rng(self, stream: Stream) -> np.random.Generator:
        """The generator of one part of the market."""
        return np.random.default_rng([self.seed, stream])


def draw_liquidity(plan: Plan) -> Liquidity:
    """The liquidity of a market, from its own random stream."""
    weeks = pd.date_range(plan.first - pd.Timedelta(weeks=BURN_IN_WEEKS), plan.end + pd.Timedelta(weeks=1), freq="W-WED", unit="us")
    level = persistent(plan.rng(Stream.LIQUIDITY), len(weeks), PERSISTENCE_A_WEEK)
    return Liquidity(weeks, (level - level.mean()) / level.std())


def day_numbers(days: pd.DatetimeIndex) -> Floats:
    """Days since 1970-01-01, as floats."""
    return days.to_numpy().astype("datetime64[D]").astype(np.float64)


def persistent(rng: np.random.Generator, shape: int | tuple[int, int], persistence: float) -> Floats:
    """Stationary AR(1) along the first axis, mean 0, variance 1."""
    path = rng.standard_normal(shape)
    path[1:] *= np.sqrt(1.0 - persistence**2)
    for step in range(1, len(path)):
        path[step] += persistence * path[step - 1]
    return path


def fat_tailed(rng: np.random.Generator, shape: int | tuple[int, int], freedom: float) -> Floats:
    """Student t of variance 1, cut at 10 standard deviations."""
    return np.clip(rng.standard_t(freedom, shape) * np.sqrt((freedom - 2.0) / freedom), -10.0, 10.0)


def volatility(rng: np.random.Generator, n: int, *, persistence: float, spread: float) -> Floats:
    """Clustered volatility: exp of an AR(1) of standard deviation `spread`, scaled to mean square 1; shape (n,)."""
    return np.exp(spread * persistent(rng, n, persistence) - spread**2)


def long_frame(dates: pd.DatetimeIndex, key: str, names: list[str], fields: Matrices, keep: Bools) -> pd.DataFrame:
    """Matrices (dates, names) as one row a date and name, where `keep`; ordered by name, then date."""
    name, date = np.nonzero(keep.T)
    columns = {field: values[date, name] for field, values in fields.items()}
    return pd.DataFrame({"date": dates[date], key: pd.Categorical.from_codes(name, pd.Index(names)), **columns})
