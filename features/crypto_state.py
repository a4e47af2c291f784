"""What crypto itself already shows. No formula of a composite reaches back more than 252 days: the shift null counts on it."""

import numpy as np
import pandas as pd

from features.altcoin_index import ALTCOIN_INDEX, EQUITY_CORRELATION, TOP_COINS
from features.registry import feature
from features.transforms import (
    align_to,
    change,
    cross_sectional_median,
    earlier,
    fill_gaps,
    is_above,
    log,
    log_change,
    log_return,
    moving_max,
    moving_mean,
    moving_min,
    moving_sd,
    share,
    total,
)
from sources.series import (
    BTC,
    BTC_MARKET_CAP,
    COIN_DOLLAR_VOLUME,
    COIN_HIGH,
    COIN_LOW,
    COIN_MARKET_CAP,
    COIN_PRICE,
    ETH,
    STABLECOIN_SUPPLY,
)

MONTH, LEAST_OF_MONTH = 30, 20  # days
QUARTER, LEAST_OF_QUARTER = 90, 60
HALF_YEAR, LEAST_OF_HALF_YEAR = 180, 120
LONGEST, LEAST_OF_LONGEST = 252, 168
HALF_LIVES = (22, 66, 198, 594)
TREND = 50
BTC_SYMBOL = "BTC"
CAPITULATION_SD, CAPITULATION_VOLUME = 2.0, 1.25
LARGEST_ISSUE = 0.05  # log growth of supply a day; beyond it the source has changed, or one issuer prints for weeks ahead
THIN = "Thin order books: the same money moves prices further, both ways; the claim expects the way up after exhausted selling."


def of_top(frame: pd.DataFrame, coins: pd.DataFrame) -> pd.DataFrame:
    """Columns of all coins that were ever in the top 50, with their whole past."""
    return frame.reindex(columns=coins.columns)


def while_top(frame: pd.DataFrame, coins: pd.DataFrame) -> pd.DataFrame:
    """Values of the coins ranked in the top 50 at the last month-end, NaN for the others."""
    return frame.where(coins.reindex(frame.index, method="ffill").notna())


@feature(
    ALTCOIN_INDEX,
    block="crypto_state",
    sign=-1,
    unit="log distance",
    rationale="The claim expects most after capitulation; the deeper below the high, the nearer to it.",
    lookback=LONGEST,
    high=0,
)
def altcoin_drawdown(level: pd.Series) -> pd.Series:
    """Log of the altcoin index over its highest close of 252 days."""
    return log(level / moving_max(level, LONGEST, least=LEAST_OF_LONGEST))


@feature(
    ALTCOIN_INDEX,
    block="crypto_state",
    sign=+1,
    unit="daily log standard deviation",
    rationale="A rise of a given size is likelier where prices move more: the reflection principle alone says so.",
    lookback=QUARTER + 1,
    low=0,
)
def altcoin_volatility(level: pd.Series) -> pd.Series:
    """Standard deviation of the altcoin index's daily log returns, past 90 days."""
    return moving_sd(log_return(level), QUARTER, least=LEAST_OF_QUARTER)


@feature(
    ALTCOIN_INDEX,
    block="crypto_state",
    sign=0,
    unit="daily log standard deviation",
    rationale="Models that start from volatility read it: short memories follow the market, long ones keep it from overreacting.",
    lookback=None,
    low=0,
    reference="Corsi (2009), A simple approximate long-memory model of realized volatility",
)
def blended_volatility(level: pd.Series) -> pd.Series:
    """Root of the mean of four exponentially weighted variances of the altcoin index's log returns, no mean taken off.

    Half-lives of 22, 66, 198 and 594 days; a day without a return says nothing.
    """
    squared = log_return(level) ** 2
    variances = [squared.ewm(halflife=days, min_periods=LEAST_OF_QUARTER).mean() for days in HALF_LIVES]
    return np.sqrt(sum(variances, start=0 * squared) / len(HALF_LIVES))


@feature(
    ALTCOIN_INDEX,
    block="crypto_state",
    sign=0,
    unit="log return",
    rationale="The momentum baseline reads it.",
    lookback=QUARTER,
)
def altcoin_momentum(level: pd.Series) -> pd.Series:
    """Log return of the altcoin index over 90 days."""
    return log(level / earlier(level, QUARTER))


@feature(
    ALTCOIN_INDEX,
    block="crypto_state",
    sign=+1,
    unit="log change per 4 weeks",
    rationale="Coin returns continue over weeks.",
    lookback=28,
    reference="Liu & Tsyvinski (2021), Risks and returns of cryptocurrency",
)
def altcoin_month_return(level: pd.Series) -> pd.Series:
    """Log return of the altcoin index over 4 weeks."""
    return log_change(level, weeks=4)


@feature(
    ALTCOIN_INDEX,
    block="crypto_state",
    sign=0,
    unit="simple return",
    rationale="Weeks in which a rally is already on, 0.30 or more, are judged apart from onsets.",
    lookback=QUARTER,
    low=0,
)
def rise_from_low(level: pd.Series) -> pd.Series:
    """Altcoin index over its lowest close of the past 90 days, less 1."""
    return level / moving_min(level, QUARTER + 1, least=LEAST_OF_QUARTER) - 1


@feature(
    COIN_PRICE,
    TOP_COINS,
    BTC,
    block="crypto_state",
    sign=0,
    unit="share",
    rationale="The published altcoin-season rule, which competes as a baseline, reads it.",
    lookback=QUARTER,
    low=0,
    high=1,
)
def altcoin_season(price: pd.DataFrame, coins: pd.DataFrame, bitcoin: pd.Series) -> pd.Series:
    """Share of the top 50 coins that did better than BTC over 90 days."""
    against_bitcoin = log(of_top(price, coins).div(bitcoin, axis=0))
    gain = while_top(against_bitcoin - against_bitcoin.shift(freq=pd.Timedelta(days=QUARTER)).reindex(price.index), coins)
    return share(gain > 0, of=gain.notna())


@feature(
    COIN_PRICE,
    TOP_COINS,
    block="crypto_state",
    sign=+1,
    unit="share",
    rationale="A rise carried by many coins outlasts one carried by few.",
    lookback=TREND,
    low=0,
    high=1,
)
def altcoin_breadth(price: pd.DataFrame, coins: pd.DataFrame) -> pd.Series:
    """Share of the top 50 coins above the geometric mean of their past 50 closes."""
    level = log(of_top(price, coins))
    mean = while_top(moving_mean(level, TREND, least=38), coins)
    return share(is_above(level, mean), of=mean.notna())


@feature(
    COIN_DOLLAR_VOLUME,
    TOP_COINS,
    block="crypto_state",
    sign=+1,
    unit="log ratio",
    rationale="Sellers are exhausted when nobody trades any more.",
    lookback=HALF_YEAR,
)
def altcoin_volume_contraction(volume: pd.DataFrame, coins: pd.DataFrame) -> pd.Series:
    """Median over the top 50 coins of the mean log dollar volume of 180 days less that of 30."""
    traded = log(of_top(volume, coins))
    long, short = moving_mean(traded, HALF_YEAR, least=LEAST_OF_HALF_YEAR), moving_mean(traded, MONTH, least=LEAST_OF_MONTH)
    return cross_sectional_median(while_top(long - short, coins))


@feature(
    COIN_PRICE,
    COIN_DOLLAR_VOLUME,
    TOP_COINS,
    block="crypto_state",
    sign=+1,
    unit="log ratio",
    rationale=THIN,
    lookback=HALF_YEAR,
    reference="Amihud (2002), Illiquidity and stock returns",
)
def altcoin_illiquidity(price: pd.DataFrame, volume: pd.DataFrame, coins: pd.DataFrame) -> pd.Series:
    """Amihud illiquidity of the median top 50 coin, log, mean of 30 days less mean of 180."""
    close = of_top(price, coins)
    impact = log(cross_sectional_median(while_top(log_return(close).abs() / align_to(volume, close), coins)))
    return moving_mean(impact, MONTH, least=LEAST_OF_MONTH) - moving_mean(impact, HALF_YEAR, least=LEAST_OF_HALF_YEAR)


@feature(
    COIN_HIGH,
    COIN_LOW,
    block="crypto_state",
    sign=+1,
    unit="share of the price",
    rationale=THIN,
    lookback=MONTH + 1,
    low=0,
    high=2,
    reference="Corwin & Schultz (2012), A simple way to estimate bid-ask spreads from daily high and low prices",
)
def altcoin_spread(high: pd.DataFrame, low: pd.DataFrame) -> pd.Series:
    """Bid-ask spread of the median coin as its daily highs and lows imply it (Corwin–Schultz), mean of 30 days."""
    high, low = high.drop(columns=BTC_SYMBOL, errors="ignore"), align_to(low, high).drop(columns=BTC_SYMBOL, errors="ignore")
    day_range = log(high / low) ** 2
    two_days = log(high.where(high >= high.shift(), high.shift()) / low.where(low <= low.shift(), low.shift())) ** 2
    scale = 3 - 2 * np.sqrt(2)
    alpha = (np.sqrt(2) - 1) * np.sqrt(day_range + day_range.shift()) / scale - np.sqrt(two_days / scale)
    spread = (2 * np.tanh(alpha / 2)).clip(lower=0)
    return moving_mean(cross_sectional_median(spread), MONTH, least=LEAST_OF_MONTH)


@feature(
    ALTCOIN_INDEX,
    COIN_DOLLAR_VOLUME,
    TOP_COINS,
    block="crypto_state",
    sign=+1,
    unit="days of 90",
    rationale="Forced selling on heavy volume ends with the sellers; the claim expects most after it.",
    lookback=2 * QUARTER + 2,
    low=0,
    high=QUARTER,
    sd_floor=0.25,
)
def capitulation_days(level: pd.Series, volume: pd.DataFrame, coins: pd.DataFrame) -> pd.Series:
    """Days of the past 90 on which the index fell by 2 standard deviations or more while coins traded 1.25 times their norm."""
    returns = log_return(level)
    fell = returns <= -CAPITULATION_SD * moving_sd(returns, QUARTER, least=LEAST_OF_QUARTER).shift()
    traded = log(of_top(volume, coins))
    heavy = cross_sectional_median(while_top(traded - moving_mean(traded, QUARTER, least=LEAST_OF_QUARTER), coins)).reindex(
        level.index
    )
    day = (fell & (heavy >= np.log(CAPITULATION_VOLUME))).astype(np.float64).where(returns.notna() & heavy.notna())
    return moving_mean(day, QUARTER, least=LEAST_OF_QUARTER) * QUARTER


@feature(
    BTC_MARKET_CAP,
    COIN_MARKET_CAP,
    block="crypto_state",
    sign=-1,
    unit="share per 4 weeks",
    rationale="Capital leaves BTC for altcoins; with stablecoins left out, what BTC loses they gain.",
    lookback=35,
    low=-1,
    high=1,
)
def bitcoin_dominance_change(bitcoin: pd.Series, caps: pd.DataFrame) -> pd.Series:
    """Change over 4 weeks of BTC's share in the market cap of BTC and all altcoins."""
    altcoins = total(fill_gaps(caps, rows=3)).reindex(bitcoin.index)
    return change(bitcoin / (bitcoin + altcoins.where(altcoins > 0)), weeks=4)


@feature(
    ETH,
    BTC,
    block="crypto_state",
    sign=+1,
    unit="log change per 4 weeks",
    rationale="ETH against BTC is where rotation into altcoins shows first.",
    lookback=28,
)
def ether_against_bitcoin(ether: pd.Series, bitcoin: pd.Series) -> pd.Series:
    """Log change of ETH over BTC over 4 weeks."""
    return log_change(ether / bitcoin, weeks=4)


@feature(
    STABLECOIN_SUPPLY,
    block="crypto_state",
    sign=+1,
    unit="log change per 90 days",
    rationale="Dollars parked inside crypto, ready to buy.",
    lookback=QUARTER + 1,
    low=-QUARTER * LARGEST_ISSUE,
    high=QUARTER * LARGEST_ISSUE,
    reference="Griffin & Shams (2020), Is Bitcoin really untethered?",
)
def stablecoin_supply_growth(supply: pd.Series) -> pd.Series:
    """Sum of 90 days' log growth of stablecoin supply, each day's cut at ±5 %."""
    growth = log_return(supply).clip(-LARGEST_ISSUE, LARGEST_ISSUE)
    return moving_mean(growth, QUARTER, least=LEAST_OF_QUARTER) * QUARTER


@feature(
    EQUITY_CORRELATION,
    block="crypto_state",
    sign=-1,
    unit="correlation per 13 weeks",
    rationale="Everything falls together when holders are forced to sell; a loosening tie says that this is over.",
    lookback=91,
    low=-2,
    high=2,
    reference="Longin & Solnik (2001), Extreme correlation of international equity markets",
)
def equity_correlation_change(correlation: pd.Series) -> pd.Series:
    """Change over 13 weeks of the 60-session correlation between the altcoin index and Nasdaq 100 stocks (QQQ)."""
    return change(correlation, weeks=13)
