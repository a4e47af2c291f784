"""CoinPaprika's keyless API: today's largest coins, and a year of daily prices of those that no other source prices.

Nothing of it could be tried against the service itself: fields, limits and terms are those of its documentation of 2026. Free for
personal use; one year of daily history, 20,000 requests a month.
"""

import json
from dataclasses import dataclass
from typing import Any

import httpx
import pandas as pd

from core.errors import FetchFailed
from sources.assets import COIN, class_of, coin_of
from sources.http import Site, TransientError, ask
from sources.layout import LAGS

SOURCE = "coinpaprika"
LARGEST = 100
HISTORY = pd.Timedelta(days=364)
ROWS = "1000"
PEGGED = ("usd", "eur", "wrapped", "staked", "staking", "restaked", "bridged", "tokenized", "gold")
"""What names and symbols hold of coins that stand for something else, where the table of assets doesn't know them yet."""


@dataclass(frozen=True)
class Listed:
    """One of today's largest coins: its code, as Coin Metrics writes codes, and what CoinPaprika calls it."""

    code: str
    name: str


def largest(client: httpx.Client, site: Site) -> list[Listed]:
    """Today's `LARGEST` coins by market cap, largest first, without those that stand for something else. Raises `FetchFailed`."""
    rows = ask(client, site, "tickers", {"quotes": "USD"}, what="list of today's coins", read=lambda body: _rows(site, body))
    try:
        ranked = sorted((int(row["rank"]), str(row["symbol"]), str(row["id"])) for row in rows if int(row["rank"]) > 0)
        names = {str(row["id"]): str(row["name"]) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise FetchFailed(f"{site.name} sent no list of today's coins: {site.hidden(repr(error))}.") from None
    chosen: dict[str, Listed] = {}
    for _, symbol, name in ranked[:LARGEST]:
        code = coin_of(symbol.lower())
        if class_of(code) == COIN and not _stands_for_something(symbol, names[name]):
            chosen.setdefault(code, Listed(code, name))
    return list(chosen.values())


def history(client: httpx.Client, site: Site, coin: Listed, since: pd.Timestamp, today: pd.Timestamp) -> pd.DataFrame:
    """Daily prices of a coin since a day, of days that are over: observed, known, close, market_cap. Raises `FetchFailed`.

    A price stamped at the beginning of a day counts as that day's, not as the close of the day before: the documentation doesn't
    say which it is, and so it is at worst a day old and never from the future.
    """
    params = {"start": f"{since:%Y-%m-%d}", "interval": "1d", "limit": ROWS}
    rows = ask(
        client, site, f"tickers/{coin.name}/historical", params, what=f"prices of {coin.code}", read=lambda body: _rows(site, body)
    )
    try:
        table = pd.DataFrame(rows, columns=["timestamp", "price", "market_cap"])
        days = pd.to_datetime(table["timestamp"], format="ISO8601", utc=True).dt.tz_localize(None).dt.normalize()
        close, cap = (pd.to_numeric(table[name]).astype("float64") for name in ("price", "market_cap"))
    except (ValueError, TypeError, AttributeError) as error:
        raise FetchFailed(f"{site.name} sent no prices of {coin.code}: {site.hidden(str(error))}.") from None
    observed = days.astype("datetime64[us]")
    bars = pd.DataFrame({"observed": observed, "known": observed + LAGS["coin"], "close": close, "market_cap": cap.where(cap > 0)})
    closed_days = bars[(observed < today.normalize()) & (close > 0)]
    return closed_days.drop_duplicates("observed", keep="last")


def _stands_for_something(symbol: str, name: str) -> bool:
    words = f"{symbol} {name}".lower()
    return any(word in words for word in PEGGED)


def _rows(site: Site, body: str) -> list[dict[str, Any]]:
    """A JSON list of objects. Raises `Passing`."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
        raise TransientError(f"it answered with something that is no list ({site.hidden(body)[:60]!r})")
    return answer
