"""Whether money, not only price, moves in small caps. Funds of small caps stand in on days without constituents' volume."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from core.arrays import Floats
from features.registry import feature
from features.transforms import (
    LARGE,
    align_to,
    at_least,
    compiled_counts,
    count,
    count_in_chunks,
    log,
    map_in_chunks,
    moving_max,
    moving_mean,
    total,
)
from sources.series import FUND_CLOSE, FUND_VOLUME, IJR_CLOSE, IJR_VOLUME, IWM_CLOSE, IWM_VOLUME, RUT, STOCK_PRICE, STOCK_VOLUME

MONTH, LEAST_OF_MONTH = 21, 15  # sessions
QUARTER, LEAST_OF_QUARTER = 63, 47
YEAR, LEAST_OF_YEAR = 252, 189
TYPICAL, LEAST_TYPICAL = 50, 38
SURGE = 2.0  # times the typical volume
GAP = 0.1  # of the typical volume: a session below it is an error of the source, not a quiet day
ON_RISES = "Volume on rising names says buyers, not sellers, are in a hurry."
MANY_SURGE = "High volume draws attention and is followed by returns; the claim wants it broad, not thin holiday trade."
GERVAIS = "Gervais, Kaniel & Mingelgrin (2001), The high-volume return premium"


@feature(
    IWM_CLOSE,
    IWM_VOLUME,
    IJR_CLOSE,
    IJR_VOLUME,
    block="volume",
    sign=+1,
    unit="log ratio",
    rationale="A breakout on heavy volume is bought by many; one on thin volume is not.",
    lookback=380,
)
def dollar_volume_surge(iwm: pd.Series, iwm_shares: pd.Series, ijr: pd.Series, ijr_shares: pd.Series) -> pd.Series:
    """Log of the dollar volume of IWM and IJR, mean of 21 sessions over mean of 252."""
    traded = iwm * iwm_shares + ijr * ijr_shares
    return log(moving_mean(traded, MONTH, least=LEAST_OF_MONTH) / moving_mean(traded, YEAR, least=LEAST_OF_YEAR))


@feature(
    RUT,
    IWM_CLOSE,
    IWM_VOLUME,
    block="volume",
    sign=+1,
    unit="mean log ratio",
    rationale="Highs made on more than usual volume are believed; the claim asks for heavy volume on the breakout itself.",
    lookback=190,
)
def volume_on_breakout_days(index: pd.Series, price: pd.Series, shares: pd.Series) -> pd.Series:
    """Log of IWM's dollar volume over its 50-session mean, averaged over the Russell 2000's 50-session highs of 63 sessions."""
    traded = price * shares
    ratio = traded / moving_mean(traded, TYPICAL, least=LEAST_TYPICAL)
    heavy = log(ratio.where(ratio > GAP))
    high = (index >= moving_max(index, TYPICAL, least=LEAST_TYPICAL)).astype(np.float64).where(heavy.notna() & index.notna())
    highs = moving_mean(high, QUARTER, least=LEAST_OF_QUARTER)
    return moving_mean(heavy * high, QUARTER, least=LEAST_OF_QUARTER) / highs.where(highs > 0)


def rising_volume(price: pd.DataFrame, shares: pd.DataFrame) -> pd.Series:
    """Share of dollar volume in names that rose, mean of 21 sessions."""

    def traded(price: pd.DataFrame, shares: pd.DataFrame) -> pd.DataFrame:
        return (price * shares).where(price.diff().notna())

    def rising(traded: pd.DataFrame, price: pd.DataFrame) -> pd.DataFrame:
        return traded.where(price.diff() > 0)

    shares = align_to(shares, price)
    if price.size >= LARGE:
        from features.numba_kernels import dollars_traded

        rose, everything, names = compiled_counts(dollars_traded, price, shares)
    else:
        known = map_in_chunks(traded, price, shares)
        rose, everything, names = total(map_in_chunks(rising, known, price)), total(known), count(known.notna())
    return moving_mean(rose / everything.where(at_least(names).notna()), MONTH, least=LEAST_OF_MONTH)


def surging_names(price: pd.DataFrame, shares: pd.DataFrame) -> pd.Series:
    """Share of names that rise on at least twice their 50-session mean volume, mean of 21 sessions."""

    def counts(price: pd.DataFrame, shares: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
        returns, typical = price.diff(), moving_mean(shares, TYPICAL, least=LEAST_TYPICAL)
        return count((shares >= SURGE * typical) & (returns > 0)), count(typical.notna() & returns.notna())

    def compiled(price: Floats, shares: Floats) -> npt.NDArray[np.int32]:
        from features.numba_kernels import names_surging

        return names_surging(price, shares, TYPICAL, LEAST_TYPICAL, SURGE)

    surging, known = count_in_chunks(counts, compiled, price, align_to(shares, price))
    daily = surging / at_least(known)
    return moving_mean(daily, MONTH, least=LEAST_OF_MONTH).clip(lower=0)  # a running sum of zeros may end a rounding below 0


@feature(STOCK_PRICE, STOCK_VOLUME, block="volume", sign=+1, unit="share", rationale=ON_RISES, lookback=40, low=0, high=1)
def up_volume_share(price: pd.DataFrame, shares: pd.DataFrame) -> pd.Series:
    """Share of the constituents' dollar volume in names that rose, mean of 21 sessions."""
    return rising_volume(price, shares)


@feature(
    STOCK_PRICE,
    STOCK_VOLUME,
    block="volume",
    sign=+1,
    unit="share",
    rationale=MANY_SURGE,
    lookback=120,
    low=0,
    high=1,
    reference=GERVAIS,
)
def breadth_of_surges(price: pd.DataFrame, shares: pd.DataFrame) -> pd.Series:
    """Share of index constituents that rise on twice their 50-session mean volume or more, mean of 21 sessions."""
    return surging_names(price, shares)


@feature(
    FUND_CLOSE,
    FUND_VOLUME,
    block="volume",
    sign=+1,
    unit="share",
    rationale=ON_RISES,
    lookback=40,
    low=0,
    high=1,
    stands_in_for="up_volume_share",
)
def fund_up_volume_share(price: pd.DataFrame, shares: pd.DataFrame) -> pd.Series:
    """Share of the small-cap funds' dollar volume in funds that rose, mean of 21 sessions."""
    return rising_volume(price, shares)


@feature(
    FUND_CLOSE,
    FUND_VOLUME,
    block="volume",
    sign=+1,
    unit="share",
    rationale=MANY_SURGE,
    lookback=120,
    low=0,
    high=1,
    reference=GERVAIS,
    stands_in_for="breadth_of_surges",
)
def fund_breadth_of_surges(price: pd.DataFrame, shares: pd.DataFrame) -> pd.Series:
    """Share of small-cap funds that rise on twice their 50-session mean volume or more, mean of 21 sessions."""
    return surging_names(price, shares)
