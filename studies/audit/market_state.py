"""The data of an audit, read once from the store as known at the end of a day."""

from dataclasses import dataclass

import pandas as pd

from features.altcoin_index import AltcoinIndex, altcoin_index
from features.build import compute, load
from features.registry import FEATURES
from sources.series import (
    BTC,
    COIN_DOLLAR_VOLUME,
    COIN_MARKET_CAP,
    COIN_PRICE,
    FED_ASSETS,
    HY_SPREAD,
    IWM,
    REVERSE_REPO,
    RUT,
    SPY,
    TREASURY_ACCOUNT,
    Series,
)
from sources.store import Store

STATES = ("days_since_breakout", "net_liquidity_growth", "altcoin_drawdown", "capitulation_days")
SERIES = (RUT, IWM, SPY, BTC, FED_ASSETS, TREASURY_ACCOUNT, REVERSE_REPO, HY_SPREAD)
EVERYTHING = pd.Timestamp("1970-01-01")


@dataclass(frozen=True)
class Facts:
    """Data known at the end of `as_of`. `rows`: every version of each series (observed, known, value).

    `index`: the altcoin index by observed day. `prices`: USD, days × coins that were ever in the index. `states`: days × `STATES`,
    as known on each day.
    """

    as_of: pd.Timestamp
    rows: dict[Series, pd.DataFrame]
    index: AltcoinIndex
    prices: pd.DataFrame
    states: pd.DataFrame

    def closes(self, series: Series) -> pd.Series:
        """The latest known value of each observed day that has one."""
        return latest(self.rows[series])


def facts_known(store: Store, as_of: pd.Timestamp) -> Facts:
    """Read the data of an audit from the store; missing series are empty, not an error."""
    features = [FEATURES[name] for name in STATES]
    frames = load(store, features, as_of, EVERYTHING)
    rows = {series: frames[series] if series in frames else store.read(series, as_of) for series in SERIES}
    index = altcoin_index(*(frames[panel] for panel in (COIN_PRICE, COIN_MARKET_CAP, COIN_DOLLAR_VOLUME)))
    held_coins = pd.Index(index.members["symbol"].unique(), dtype="str")
    level = index.level
    days = pd.date_range(level.index[0] if len(level) else as_of, as_of, unit="us", name="day")
    return Facts(
        as_of=as_of,
        rows=rows,
        index=index,
        prices=frames[COIN_PRICE].reindex(columns=held_coins),
        states=compute(features, frames, days),
    )


def latest(rows: pd.DataFrame) -> pd.Series:
    """Last known value of each observed day; days without one are left out."""
    newest = rows.drop_duplicates("observed", keep="last").sort_values("observed")
    return pd.Series(newest["value"].to_numpy(), pd.DatetimeIndex(newest["observed"])).dropna()
