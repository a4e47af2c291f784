"""Whether money gets easier: central bank, Treasury, credit, rates, dollar, and the ease of trading small caps."""

import pandas as pd

from features.registry import feature
from features.transforms import align_to, change, cross_sectional_median, log, log_change, log_return, map_in_chunks, moving_mean
from sources.series import (
    BAA_SPREAD,
    CURVE,
    DOLLAR,
    FED_ASSETS,
    FUND_CLOSE,
    FUND_VOLUME,
    HY_SPREAD,
    IG_SPREAD,
    MBS_HOLDINGS,
    POLICY_RATE,
    REAL_YIELD,
    RESERVES,
    REVERSE_REPO,
    STOCK_PRICE,
    STOCK_VOLUME,
    TREASURY_ACCOUNT,
    TREASURY_HOLDINGS,
)

QUARTER = 13  # weeks
QUARTER_LOOKBACK = 91
MILLION_A_BILLION = 1_000
GROWTH = "log change per 13 weeks"
POINTS = "percentage points per 13 weeks"
DEALERS = "Where a trade moves prices less, money comes in more easily; illiquid small caps are priced for stress."
AMIHUD = "Amihud (2002), Illiquidity and stock returns"


@feature(
    FED_ASSETS,
    TREASURY_ACCOUNT,
    REVERSE_REPO,
    block="liquidity",
    sign=+1,
    unit=GROWTH,
    rationale="Reserves left for markets; the claim says risk assets follow.",
    lookback=QUARTER_LOOKBACK,
)
def net_liquidity_growth(assets: pd.Series, treasury: pd.Series, repo: pd.Series) -> pd.Series:
    """Growth of Federal Reserve assets less the Treasury's account and reverse repo, over 13 weeks."""
    return log_change(assets - treasury - repo * MILLION_A_BILLION, weeks=QUARTER)


@feature(
    TREASURY_ACCOUNT,
    FED_ASSETS,
    block="liquidity",
    sign=+1,
    unit="share of Federal Reserve assets per 13 weeks",
    rationale="The Treasury spends its account down into bank deposits.",
    lookback=QUARTER_LOOKBACK,
    low=-1,
    high=1,
)
def treasury_account_drawdown(treasury: pd.Series, assets: pd.Series) -> pd.Series:
    """Fall of the Treasury's account over 13 weeks, as a share of Federal Reserve assets."""
    return -change(treasury, weeks=QUARTER) / assets


@feature(
    RESERVES,
    block="liquidity",
    sign=+1,
    unit=GROWTH,
    rationale="What banks can lend against.",
    lookback=QUARTER_LOOKBACK,
)
def reserves_growth(reserves: pd.Series) -> pd.Series:
    """Growth of bank reserves at the Federal Reserve over 13 weeks."""
    return log_change(reserves, weeks=QUARTER)


@feature(
    TREASURY_HOLDINGS,
    block="liquidity",
    sign=+1,
    unit=GROWTH,
    rationale="The Fed buys bills and bonds; sellers hold cash and reach for risk.",
    lookback=QUARTER_LOOKBACK,
)
def treasury_holdings_growth(holdings: pd.Series) -> pd.Series:
    """Growth of Treasury securities held by the Federal Reserve over 13 weeks."""
    return log_change(holdings, weeks=QUARTER)


@feature(
    MBS_HOLDINGS,
    block="liquidity",
    sign=+1,
    unit=GROWTH,
    rationale="Purchases of mortgage bonds ease private credit, as the claim names them.",
    lookback=QUARTER_LOOKBACK,
)
def mbs_holdings_growth(holdings: pd.Series) -> pd.Series:
    """Growth of mortgage-backed securities held by the Federal Reserve over 13 weeks."""
    return log_change(holdings, weeks=QUARTER)


@feature(
    HY_SPREAD,
    block="liquidity",
    sign=-1,
    unit=POINTS,
    rationale="Wider spreads mean dearer money for small and risky borrowers.",
    lookback=QUARTER_LOOKBACK,
    reference="Gilchrist & Zakrajšek (2012), Credit spreads and business cycle fluctuations",
)
def high_yield_spread_change(spread: pd.Series) -> pd.Series:
    """Change of the high-yield option-adjusted spread over 13 weeks."""
    return change(spread, weeks=QUARTER)


@feature(
    IG_SPREAD,
    block="liquidity",
    sign=-1,
    unit=POINTS,
    rationale="Wider spreads mean dearer money for sound borrowers too.",
    lookback=QUARTER_LOOKBACK,
)
def investment_grade_spread_change(spread: pd.Series) -> pd.Series:
    """Change of the investment-grade option-adjusted spread over 13 weeks."""
    return change(spread, weeks=QUARTER)


@feature(
    BAA_SPREAD,
    block="liquidity",
    sign=-1,
    unit=POINTS,
    rationale="Stands in for the investment-grade spread, of which the public source gives away three rolling years only.",
    lookback=QUARTER_LOOKBACK,
    stands_in_for="investment_grade_spread_change",
)
def baa_spread_change(spread: pd.Series) -> pd.Series:
    """Change of Moody's Baa corporate yield less the ten-year Treasury's over 13 weeks."""
    return change(spread, weeks=QUARTER)


@feature(
    REAL_YIELD,
    block="liquidity",
    sign=-1,
    unit=POINTS,
    rationale="The safe real return is what an asset without income competes with.",
    lookback=QUARTER_LOOKBACK,
)
def real_yield_change(real_yield: pd.Series) -> pd.Series:
    """Change of the 10-year inflation-indexed Treasury yield over 13 weeks."""
    return change(real_yield, weeks=QUARTER)


@feature(
    POLICY_RATE,
    block="liquidity",
    sign=-1,
    unit=POINTS,
    rationale="The claim names lower rates; every borrower's floor moves with this one.",
    lookback=QUARTER_LOOKBACK,
    sd_floor=0.1,
)
def policy_rate_change(rate: pd.Series) -> pd.Series:
    """Change of the effective federal funds rate over 13 weeks."""
    return change(rate, weeks=QUARTER)


@feature(
    CURVE,
    block="liquidity",
    sign=+1,
    unit="percentage points",
    rationale="A steep curve pays banks to lend, and small caps live on lending.",
    lookback=0,
    reference="Estrella & Mishkin (1998), Predicting U.S. recessions: financial variables as leading indicators",
)
def yield_curve_slope(curve: pd.Series) -> pd.Series:
    """10-year less 2-year Treasury yield."""
    return curve


@feature(
    DOLLAR,
    block="liquidity",
    sign=-1,
    unit=GROWTH,
    rationale="A dearer dollar tightens credit for everyone who borrows in it.",
    lookback=QUARTER_LOOKBACK,
    reference="Bruno & Shin (2015), Cross-border banking and global liquidity",
)
def dollar_change(dollar: pd.Series) -> pd.Series:
    """Growth of the dollar index DXY over 13 weeks."""
    return log_change(dollar, weeks=QUARTER)


def impact_a_dollar(price: pd.DataFrame, shares: pd.DataFrame) -> pd.DataFrame:
    """Absolute log return a dollar traded, name by name."""
    return log_return(price).abs() / (price * shares)


def illiquidity(price: pd.DataFrame, shares: pd.DataFrame) -> pd.Series:
    """Log of the median name's absolute return per dollar traded, mean of 21 sessions less mean of 252."""
    impact = log(cross_sectional_median(map_in_chunks(impact_a_dollar, price, align_to(shares, price))))
    return moving_mean(impact, 21, least=15) - moving_mean(impact, 252, least=189)


@feature(STOCK_PRICE, STOCK_VOLUME, block="liquidity", sign=-1, unit="log ratio", rationale=DEALERS, lookback=380, reference=AMIHUD)
def small_cap_illiquidity(price: pd.DataFrame, shares: pd.DataFrame) -> pd.Series:
    """Amihud illiquidity of the median index constituent, log, past 21 sessions against past 252."""
    return illiquidity(price, shares)


@feature(
    FUND_CLOSE,
    FUND_VOLUME,
    block="liquidity",
    sign=-1,
    unit="log ratio",
    rationale=DEALERS,
    lookback=380,
    reference=AMIHUD,
    stands_in_for="small_cap_illiquidity",
)
def fund_illiquidity(price: pd.DataFrame, shares: pd.DataFrame) -> pd.Series:
    """Amihud illiquidity of the median small-cap fund, log, past 21 sessions against past 252."""
    return illiquidity(price, shares)
