"""Ideas that are often done with a leak, done without: none of them may be called one. Loaded by the tests of `leakcheck`."""

import numpy as np
import pandas as pd

from features.registry import feature
from sources.series import COIN_PRICE, IWM, SPY, STOCK_PRICE

MONDAY = 0


def plain(*inputs: object) -> object:
    """A declaration in the registered way."""
    return feature(*inputs, block="ladder", sign=0, unit="none", rationale="honest", lookback=None)


@plain(SPY)
def honest_expanding_z(close: pd.Series) -> pd.Series:
    """z-score by all days until now."""
    return (close - close.expanding(20).mean()) / close.expanding(20).std()


@plain(SPY)
def honest_filled_forward(close: pd.Series) -> pd.Series:
    """Mondays only, carried forward."""
    return close.where(close.index.day_of_week == MONDAY).ffill()


@plain(SPY)
def honest_high(close: pd.Series) -> pd.Series:
    """Distance from the highest close so far."""
    return close / close.cummax()


@plain(SPY)
def honest_month_to_date(close: pd.Series) -> pd.Series:
    """Distance from the mean of the month so far."""
    return close / close.groupby(close.index.to_period("M")).expanding().mean().droplevel(0)


@plain(SPY)
def honest_average(close: pd.Series) -> pd.Series:
    """Exponential average."""
    return close.ewm(span=20).mean()


@plain(SPY, IWM)
def honest_joined_backward(large: pd.Series, small: pd.Series) -> pd.Series:
    """Last Monday's small caps beside today's large ones."""
    return large / small.where(small.index.day_of_week == MONDAY).ffill()


@plain(STOCK_PRICE)
def honest_cross_section(price: pd.DataFrame) -> pd.Series:
    """Rank of the first name among those of the same day."""
    return price.rank(axis=1, pct=True).iloc[:, 0]


@plain(COIN_PRICE)
def honest_draws(price: pd.DataFrame) -> pd.Series:
    """Mean price plus noise that is the same for a day whenever it is drawn."""
    noise = [np.random.default_rng(day.toordinal()).normal() for day in price.index]
    return price.mean(axis=1) + np.asarray(noise)


@plain(SPY)
def honest_never_known(close: pd.Series) -> pd.Series:
    """Nothing."""
    return close * np.nan
