"""How many small caps take part. On index constituents; funds of small caps stand in on days without them."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from core.arrays import Floats
from features.registry import feature
from features.transforms import EQUAL, at_least, count, count_in_chunks, is_above, moving_max, moving_mean, moving_min
from sources.series import FUND_PRICE, STOCK_PRICE

WEEKS_10, WEEKS_40 = 50, 200  # sessions
YEAR, LEAST_OF_YEAR = 252, 189
MONTH, LEAST_OF_MONTH = 21, 15
WIDE = "A rise carried by many names shows money reaching small caps as a group."
HIGHS = "New highs less new lows: leadership widens before it reaches riskier assets."
ADVANCES = "More names rising than falling, day after day: buying is broad."


def above_mean(price: pd.DataFrame, sessions: int) -> pd.Series:
    """Share of names above the mean of their last `sessions` closes, three quarters of which they need."""
    least = sessions * 3 // 4

    def counts(price: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
        mean = moving_mean(price, sessions, least=least)
        return count(is_above(price, mean)), count(mean.notna())

    def compiled(price: Floats) -> npt.NDArray[np.int32]:
        from features.numba_kernels import names_above_mean

        return names_above_mean(price, sessions, least, EQUAL)

    higher, known = count_in_chunks(counts, compiled, price)
    return higher / at_least(known)


def highs_less_lows(price: pd.DataFrame) -> pd.Series:
    """Share of names at their highest close of 252 sessions less share at their lowest."""

    def counts(price: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
        highest, lowest = moving_max(price, YEAR, least=LEAST_OF_YEAR), moving_min(price, YEAR, least=LEAST_OF_YEAR)
        return count(price >= highest), count(price <= lowest), count(highest.notna())

    def compiled(price: Floats) -> npt.NDArray[np.int32]:
        from features.numba_kernels import names_at_extremes

        return names_at_extremes(price, YEAR, LEAST_OF_YEAR)

    highs, lows, known = count_in_chunks(counts, compiled, price)
    return (highs - lows) / at_least(known)


def advances_less_declines(price: pd.DataFrame) -> pd.Series:
    """Share of names that rose less share that fell, mean of 21 sessions."""

    def counts(price: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
        returns = price.diff()
        return count(returns > 0), count(returns < 0), count(returns.notna())

    def compiled(price: Floats) -> npt.NDArray[np.int32]:
        from features.numba_kernels import names_moved

        return names_moved(price)

    rose, fell, known = count_in_chunks(counts, compiled, price)
    return moving_mean((rose - fell) / at_least(known), MONTH, least=LEAST_OF_MONTH)


@feature(STOCK_PRICE, block="breadth", sign=+1, unit="share", rationale=WIDE, lookback=80, low=0, high=1)
def breadth_above_50(price: pd.DataFrame) -> pd.Series:
    """Share of index constituents above their 50-session mean."""
    return above_mean(price, WEEKS_10)


@feature(STOCK_PRICE, block="breadth", sign=+1, unit="share", rationale=WIDE, lookback=300, low=0, high=1)
def breadth_above_200(price: pd.DataFrame) -> pd.Series:
    """Share of index constituents above their 200-session mean."""
    return above_mean(price, WEEKS_40)


@feature(STOCK_PRICE, block="breadth", sign=+1, unit="share", rationale=HIGHS, lookback=380, low=-1, high=1)
def new_highs_less_lows(price: pd.DataFrame) -> pd.Series:
    """Share of index constituents at a 252-session high less share at a 252-session low."""
    return highs_less_lows(price)


@feature(STOCK_PRICE, block="breadth", sign=+1, unit="share", rationale=ADVANCES, lookback=40, low=-1, high=1)
def net_advances(price: pd.DataFrame) -> pd.Series:
    """Share of index constituents that rose less share that fell, mean of 21 sessions."""
    return advances_less_declines(price)


@feature(
    FUND_PRICE,
    block="breadth",
    sign=+1,
    unit="share",
    rationale=WIDE,
    lookback=80,
    low=0,
    high=1,
    stands_in_for="breadth_above_50",
)
def fund_breadth_above_50(price: pd.DataFrame) -> pd.Series:
    """Share of small-cap funds above their 50-session mean."""
    return above_mean(price, WEEKS_10)


@feature(
    FUND_PRICE,
    block="breadth",
    sign=+1,
    unit="share",
    rationale=WIDE,
    lookback=300,
    low=0,
    high=1,
    stands_in_for="breadth_above_200",
)
def fund_breadth_above_200(price: pd.DataFrame) -> pd.Series:
    """Share of small-cap funds above their 200-session mean."""
    return above_mean(price, WEEKS_40)


@feature(
    FUND_PRICE,
    block="breadth",
    sign=+1,
    unit="share",
    rationale=HIGHS,
    lookback=380,
    low=-1,
    high=1,
    stands_in_for="new_highs_less_lows",
)
def fund_new_highs_less_lows(price: pd.DataFrame) -> pd.Series:
    """Share of small-cap funds at a 252-session high less share at a 252-session low."""
    return highs_less_lows(price)


@feature(
    FUND_PRICE,
    block="breadth",
    sign=+1,
    unit="share",
    rationale=ADVANCES,
    lookback=40,
    low=-1,
    high=1,
    stands_in_for="net_advances",
)
def fund_net_advances(price: pd.DataFrame) -> pd.Series:
    """Share of small-cap funds that rose less share that fell, mean of 21 sessions."""
    return advances_less_declines(price)
