"""The altcoin index: the value of a basket of altcoins that could have been held. Features and the outcome read it."""

from dataclasses import dataclass
from itertools import pairwise

import bottleneck as bn
import numpy as np
import pandas as pd

from core.arrays import Bools, Floats
from features.registry import Derived
from features.transforms import log_return
from sources.reader import CARRY, Reader, latest_values
from sources.series import COIN_DOLLAR_VOLUME, COIN_MARKET_CAP, COIN_PRICE, QQQ

TOP = 50
WEIGHT_LIMIT = 0.25
CAPS_NEEDED = 0.9  # of the coins it takes to fill the index
VOLUME_DAYS, LEAST_VOLUME_DAYS = 90, 45
CORRELATION_SESSIONS, LEAST_SESSIONS = 60, 45
RANKING_LOOKBACK = 31 + VOLUME_DAYS + CARRY


@dataclass(frozen=True)
class AltcoinIndex:
    """The index and its members.

    `level` by observed day, every day, NaN where fewer than half its coins quote; its scale is arbitrary.
    `members`: month_end, symbol, weight: what is held from the close of that month-end on.
    `stopped`: month_end, symbol, last_quote: coins that stopped quoting while held, kept at their last price to the next ranking.
    """

    level: pd.Series
    stopped: pd.DataFrame
    members: pd.DataFrame


def altcoin_index(price: pd.DataFrame, market_cap: pd.DataFrame, dollar_volume: pd.DataFrame) -> AltcoinIndex:
    """The index of the coins in `price`, which must all be altcoins. All three: observed days × symbols; USD, NaN where missing.

    The `TOP` coins at each month-end are bought and held until the next: weighted by market cap with no coin above `WEIGHT_LIMIT`;
    where caps are missing, equally over those of highest trailing 90-day median dollar volume.
    """
    weights = month_end_weights(price, market_cap, dollar_volume)
    level, stopped = index_history(price, weights)
    members = weights.melt(var_name="symbol", value_name="weight", ignore_index=False).dropna().reset_index()
    return AltcoinIndex(level, stopped, members.sort_values(["month_end", "symbol"], ignore_index=True))


def load_index(store: Reader, as_of: pd.Timestamp, start: pd.Timestamp | None = None) -> AltcoinIndex:
    """The index by observed day from what was known at the end of `as_of`; with `start`, of data observed since then."""
    price, market_cap, dollar_volume = (
        store.read_panel(panel, as_of, start) for panel in (COIN_PRICE, COIN_MARKET_CAP, COIN_DOLLAR_VOLUME)
    )
    return altcoin_index(price, market_cap, dollar_volume)


def month_end_weights(price: pd.DataFrame, market_cap: pd.DataFrame, dollar_volume: pd.DataFrame) -> pd.DataFrame:
    """Weights to hold from each month-end on: month-ends × symbols ever held, NaN where not held.

    A month-end at which fewer than half of those held quote is passed over: the source has failed, not the coins.
    """
    ends, symbols = month_ends(price.index), price.columns
    quoting = latest_values(price, ends).notna()
    caps = latest_values(market_cap, ends).reindex(columns=symbols).where(quoting).to_numpy()
    weights = np.full(caps.shape, np.nan)
    former = np.zeros(len(symbols), dtype=bool)
    for row, quotes in enumerate(quoting.to_numpy()):
        if (quotes & former).sum() < former.sum() / 2:
            continue
        if np.isfinite(caps[row]).sum() >= CAPS_NEEDED * min(TOP, quotes.sum()):
            weights[row] = limit_weights(keep_largest(caps[row]))
        else:
            traded = keep_largest(np.where(quotes, typical_volume(dollar_volume, ends[row]).reindex(symbols), np.nan))
            weights[row] = traded * 0 + 1 / max(np.isfinite(traded).sum(), 1)
        former = np.isfinite(weights[row])
    return pd.DataFrame(weights, ends, symbols).dropna(how="all").dropna(how="all", axis=1)


def month_ends(days: pd.Index) -> pd.DatetimeIndex:
    """Last days of the calendar months that ended within `days`."""
    return pd.date_range(days[0], days[-1], freq="ME", name="month_end") if len(days) else pd.DatetimeIndex([], name="month_end")


def typical_volume(dollar_volume: pd.DataFrame, day: pd.Timestamp) -> pd.Series:
    """Median dollar volume of the 90 days to `day`, NaN for a coin with less than half of them."""
    past = dollar_volume.loc[day - pd.Timedelta(days=VOLUME_DAYS - 1) : day]
    return past.median().where(past.count() >= LEAST_VOLUME_DAYS)


def keep_largest(sizes: Floats) -> Floats:
    """`sizes` with only the `TOP` largest kept, NaN elsewhere; among equals the first is kept."""
    order = np.argsort(-sizes, kind="stable")  # NaN goes last
    top = np.full(sizes.shape, np.nan)
    top[order[:TOP]] = sizes[order[:TOP]]
    return top


def limit_weights(sizes: Floats) -> Floats:
    """Weights in proportion to `sizes`, none above `WEIGHT_LIMIT` (or an equal part, where too few coins fit under it)."""
    limit = max(WEIGHT_LIMIT, 1 / max(np.isfinite(sizes).sum(), 1))
    weights = sizes / np.nansum(sizes)
    capped = weights > limit
    while (weights > limit).any() and np.nansum(free := np.where(capped, 0.0, sizes)) > 0:
        weights = np.where(capped, limit, free / np.nansum(free) * (1 - limit * capped.sum()))
        capped |= weights > limit
    return weights


def index_history(price: pd.DataFrame, weights: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame]:
    """Level by day, and the coins that stopped, of holding each row of `weights` from its month-end to the next."""
    days = every_day(price.index)
    quotes = price.reindex(columns=weights.columns).reindex(days).to_numpy()
    level, base = np.full(len(days), np.nan), 1.0
    stopped: list[tuple[pd.Timestamp, str, pd.Timestamp]] = []
    month_end_rows = days.get_indexer(weights.index)
    for number, (first, last) in enumerate(pairwise([*month_end_rows, len(days) - 1])):
        coins = np.flatnonzero(weights.iloc[number].notna())
        before = max(first - CARRY, 0)
        month = quotes[before : last + 1, coins]
        growth, fresh = basket_growth(month, weights.iloc[number].to_numpy()[coins], bought=first - before)
        level[first : last + 1] = np.where(fresh, base * growth, np.nan)
        base *= growth[-1]
        last_quote = last - np.isfinite(month[::-1]).argmax(axis=0)
        gone = last_quote < last - CARRY
        stopped += [
            (weights.index[number], weights.columns[coin], days[row])
            for coin, row in zip(coins[gone], last_quote[gone], strict=True)
        ]
    began = month_end_rows[0] if len(weights) else len(days)
    return (
        pd.Series(level, days, name="altcoin index").iloc[began:],
        pd.DataFrame(stopped, columns=["month_end", "symbol", "last_quote"]),
    )


def basket_growth(quotes: Floats, weights: Floats, *, bought: int) -> tuple[Floats, Bools]:
    """Growth of a basket since row `bought` of its `quotes` (days × coins), and whether half of its coins quote, by row."""
    price = bn.push(quotes, axis=0)[bought:]
    fresh = np.isfinite(bn.push(quotes, n=CARRY, axis=0)[bought:]).sum(axis=1) >= len(weights) / 2
    return (price / price[0] * weights).sum(axis=1), fresh


def every_day(days: pd.Index) -> pd.DatetimeIndex:
    """All calendar days from the first to the last of `days`."""
    return pd.date_range(days[0], days[-1], name="observed") if len(days) else pd.DatetimeIndex([], name="observed")


def index_level(price: pd.DataFrame, weights: pd.DataFrame) -> pd.Series:
    """Level of the index by day."""
    return index_history(price, weights)[0]


def equity_correlation(equity: pd.Series, level: pd.Series) -> pd.Series:
    """Correlation of the index's and an equity fund's log returns from session to session, over the past 60 sessions."""
    returns = log_return(level.reindex(equity.index))
    return returns.rolling(CORRELATION_SESSIONS, min_periods=LEAST_SESSIONS).corr(log_return(equity)).where(returns.notna())


TOP_COINS = Derived(
    "top 50 coins",
    (COIN_PRICE, COIN_MARKET_CAP, COIN_DOLLAR_VOLUME),
    month_end_weights,
    "weight from each month-end on",
    RANKING_LOOKBACK,
)
ALTCOIN_INDEX = Derived("altcoin index", (COIN_PRICE, TOP_COINS), index_level, "level, arbitrary scale", CARRY)
EQUITY_CORRELATION = Derived("crypto-equity correlation", (QQQ, ALTCOIN_INDEX), equity_correlation, "correlation", 90)
