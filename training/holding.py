"""What holding one thing or another brings, day by day, dealt at closes and after costs: bare maths, many holdings at once."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sources.errors import MissingData
from training.bootstrap import Ints
from training.detectable import YEAR_DAYS
from training.scores import Floats

DEALING_DELAY = pd.Timedelta(days=1)
"""What is decided at the end of one day is dealt at the close of the next."""


@dataclass(frozen=True)
class Tape:
    """Closes from the first dealing day on: `days` (D + 1,), log returns (D,) of the index and of BTC, the week (D,) each falls in.

    `dealt` (n,): where each week's dealing day stands among the days. `carried`: days without a close; the one before stands.
    """

    days: pd.DatetimeIndex
    index: Floats
    bitcoin: Floats
    week: Ints
    dealt: Ints
    carried: int


def tape_of(decided: pd.DatetimeIndex, index_level: pd.Series, bitcoin: pd.Series) -> Tape:
    """Closes (by observed day) for decisions at the end of the days `decided`; those not followed by a close are left out.

    Raises MissingData where none is left, or the first dealing day has no close.
    """
    closes = pd.DataFrame({"index": index_level, "bitcoin": bitcoin})
    last = closes.dropna().index.max()
    dealing = (decided + DEALING_DELAY)[decided + DEALING_DELAY < last]
    if not len(dealing):
        raise MissingData("No forecast is followed by a close of both the altcoin index and BTC: there is nothing to follow.")
    closes = closes.reindex(pd.date_range(dealing[0], last, freq="D"))
    if closes.iloc[0].isna().any():
        raise MissingData(f"The altcoin index or BTC has no close on {dealing[0]:%Y-%m-%d}, the first day to deal on.")
    days, returns = pd.DatetimeIndex(closes.index), np.diff(np.log(closes.ffill().to_numpy()), axis=0)
    week = np.searchsorted(dealing, days[:-1], side="right") - 1
    return Tape(days, returns[:, 0], returns[:, 1], week, days.get_indexer(dealing), int(closes.isna().any(axis=1).sum()))


@dataclass(frozen=True)
class Path:
    """Shares held in altcoins (S, n) a week, log wealth (S, D + 1) from 0, what was dealt (S, n) in times all one had.

    `cost` is the share of it that went.
    """

    altcoins: Floats
    log_wealth: Floats
    dealt: Floats
    cost: float

    def growth(self) -> Floats:
        """Compound growth a year (S,)."""
        return np.asarray(np.expm1(self.log_wealth[:, -1] * YEAR_DAYS / (self.log_wealth.shape[1] - 1)))

    def maximum_drawdown(self) -> Floats:
        """Worst fall from a high (S,), what one began with among the highs."""
        return np.asarray(-np.expm1(underwater(self.log_wealth).min(axis=1)))

    def spent(self) -> Floats:
        """Share of wealth (S,) that dealing took in all."""
        return np.asarray(-np.expm1(self.dealt.sum(axis=1) * np.log1p(-self.cost)))


def underwater(log_wealth: Floats) -> Floats:
    """Log wealth (S, D + 1) less its highest so far, what one began with among the highs."""
    return np.asarray(log_wealth - np.maximum.accumulate(np.maximum(log_wealth, 0), axis=1))


def path_of(tape: Tape, altcoins: Floats, bitcoin: Floats, cost: float) -> Path:
    """Holding shares (S, n) of altcoins and of BTC week by week, the rest in cash that earns nothing; all begin with cash.

    cost: share of what is bought or sold, each way.
    """
    dealt = turned(altcoins) + turned(bitcoin)
    change = np.zeros((len(altcoins), len(tape.days)))
    change[:, tape.dealt] = dealt * np.log1p(-cost)
    change[:, 1:] += altcoins[:, tape.week] * tape.index + bitcoin[:, tape.week] * tape.bitcoin
    return Path(altcoins, np.cumsum(change, axis=1), dealt, cost)


def turned(shares: Floats) -> Floats:
    """What is bought or sold (S, n) to hold these shares, none at first."""
    return np.asarray(np.abs(np.diff(shares, axis=1, prepend=0.0)))
