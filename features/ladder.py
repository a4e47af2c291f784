"""The claimed order of spreading, one rung a feature: funding and bonds, large stocks, small caps, their riskiest sectors."""

import pandas as pd

from features.registry import feature
from features.transforms import log_change
from sources.series import HYG, IEF, IWM, KRE, LQD, SPY, TLT, VIX, XBI

QUARTER = 13  # weeks
LOOKBACK = 91
GROWTH = "log change per 13 weeks"


@feature(
    VIX,
    block="ladder",
    sign=-1,
    unit=GROWTH,
    rationale="Funding: expected volatility sets margins, and so how much a leveraged buyer may hold.",
    lookback=LOOKBACK,
    reference="Brunnermeier & Pedersen (2009), Market liquidity and funding liquidity",
)
def funding_strain_change(vix: pd.Series) -> pd.Series:
    """Growth of the VIX over 13 weeks."""
    return log_change(vix, weeks=QUARTER)


@feature(
    TLT,
    block="ladder",
    sign=+1,
    unit=GROWTH,
    rationale="Bonds: falling long yields are the first rung of the claim.",
    lookback=LOOKBACK,
)
def treasury_bond_return(bonds: pd.Series) -> pd.Series:
    """Return of long Treasury bonds (TLT) over 13 weeks."""
    return log_change(bonds, weeks=QUARTER)


@feature(
    LQD,
    IEF,
    block="ladder",
    sign=+1,
    unit=GROWTH,
    rationale="Bonds: money moves from Treasuries to sound companies.",
    lookback=LOOKBACK,
)
def investment_grade_over_treasuries(corporate: pd.Series, treasuries: pd.Series) -> pd.Series:
    """Return of investment-grade bonds (LQD) over Treasuries (IEF), 13 weeks."""
    return log_change(corporate / treasuries, weeks=QUARTER)


@feature(
    HYG,
    IEF,
    block="ladder",
    sign=+1,
    unit=GROWTH,
    rationale="Bonds: money moves on to risky companies, the last rung before stocks.",
    lookback=LOOKBACK,
)
def high_yield_over_treasuries(junk: pd.Series, treasuries: pd.Series) -> pd.Series:
    """Return of high-yield bonds (HYG) over Treasuries (IEF), 13 weeks."""
    return log_change(junk / treasuries, weeks=QUARTER)


@feature(
    SPY,
    block="ladder",
    sign=+1,
    unit=GROWTH,
    rationale="Stocks: the rung between bonds and small caps.",
    lookback=LOOKBACK,
)
def large_cap_return(stocks: pd.Series) -> pd.Series:
    """Return of large stocks (SPY) over 13 weeks."""
    return log_change(stocks, weeks=QUARTER)


@feature(
    IWM,
    SPY,
    block="ladder",
    sign=+1,
    unit=GROWTH,
    rationale="Small caps: the high beta inside stocks, which is said to move before crypto.",
    lookback=LOOKBACK,
)
def small_caps_over_large(small: pd.Series, large: pd.Series) -> pd.Series:
    """Return of small stocks (IWM) over large (SPY), 13 weeks."""
    return log_change(small / large, weeks=QUARTER)


@feature(
    KRE,
    IWM,
    block="ladder",
    sign=+1,
    unit=GROWTH,
    rationale="Regional banks lend to small companies: their strength says credit flows.",
    lookback=LOOKBACK,
)
def regional_banks_over_small_caps(banks: pd.Series, small: pd.Series) -> pd.Series:
    """Return of regional banks (KRE) over small stocks (IWM), 13 weeks."""
    return log_change(banks / small, weeks=QUARTER)


@feature(
    XBI,
    IWM,
    block="ladder",
    sign=+1,
    unit=GROWTH,
    rationale="Biotech has no earnings, only financing: the last rung before crypto.",
    lookback=LOOKBACK,
)
def biotech_over_small_caps(biotech: pd.Series, small: pd.Series) -> pd.Series:
    """Return of biotech (XBI) over small stocks (IWM), 13 weeks."""
    return log_change(biotech / small, weeks=QUARTER)
