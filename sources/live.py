"""Provider of the real market: FRED, Yahoo and Coin Metrics, one after the other. Where one fails, the others still deliver.

Small caps come where the home has a list of them (`sources.constituents`).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from core.errors import BadInput, SourceUnreachable, redacted
from core.progress import Progress
from sources import coins, constituent_list, constituents, fred, quality, todays_coins, yahoo, yahoo_client
from sources.batches import Deliveries
from sources.http import Health, RetryPolicy, Site, answers, look
from sources.store import Store

FUNDS_LABEL = "funds"
TODAYS_COINS_AT_ONCE = 50
BARS_AT_ONCE = 100  # Yahoo publishes no pace: what its users ask in one go, and no more than that in a minute


@dataclass(frozen=True)
class Endpoints:
    """Where each service is asked."""

    fred: str = "https://fred.stlouisfed.org"
    alfred: str = "https://api.stlouisfed.org"
    coins: str = "https://community-api.coinmetrics.io/v4"
    yahoo: str = yahoo_client.ADDRESS
    llama: str = "https://stablecoins.llama.fi"
    paprika: str = "https://api.coinpaprika.com/v1"

    @property
    def asks_llama(self) -> bool:
        """Whether DefiLlama is asked: not where coins are fetched from another place than usual and nobody said so of DefiLlama."""
        return self.coins == Endpoints.coins or self.llama != Endpoints.llama

    @property
    def asks_paprika(self) -> bool:
        """Whether CoinPaprika is asked, by the same rule."""
        return self.coins == Endpoints.coins or self.paprika != Endpoints.paprika


def endpoints_of(environment: Mapping[str, str]) -> Endpoints:
    """The defaults, or what ALTRALLY_FRED_URL, _ALFRED_, _COINS_, _YAHOO_, _LLAMA_ and ALTRALLY_PAPRIKA_URL say."""
    names = ("fred", "alfred", "coins", "yahoo", "llama", "paprika")
    given = {name: address_in(environment, f"ALTRALLY_{name.upper()}_URL") for name in names}
    return Endpoints(**{name: address for name, address in given.items() if address})


def address_in(environment: Mapping[str, str], variable: str) -> str:
    """The address a variable holds, empty where it isn't set. Raises BadInput where it is none."""
    address = environment.get(variable, "").strip().rstrip("/")
    if address and not is_address(address):
        raise BadInput(f"{variable} isn't an address like https://example.org: {redacted(address)!r}.")
    return address


def is_address(text: str) -> bool:
    """Whether an HTTP client can ask there."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def batches(store: Store, *, path: Path | None, today: pd.Timestamp, progress: Progress) -> Deliveries:
    """Everything declared, from a little before what is stored. `path` is not looked at; FRED_API_KEY brings revised series."""
    key = os.environ.get("FRED_API_KEY", "").strip()
    return deliveries(store, today=today, progress=progress, endpoints=endpoints_of(os.environ), key=key, patience=RetryPolicy())


def funds_named(store: Store, tickers: Sequence[str], *, today: pd.Timestamp, progress: Progress) -> Deliveries:
    """Bars of funds and indices that no declared series names; each continues where the store ends."""
    site = Site("Yahoo", endpoints_of(os.environ).yahoo, RetryPolicy())
    requests = [yahoo.TickerRequest(ticker, ticker) for ticker in dict.fromkeys(tickers)]
    yield from yahoo.deliveries(yahoo.Shelf(store, "fund", FUNDS_LABEL, today), requests, site, progress)


def deliveries(
    store: Store,
    *,
    today: pd.Timestamp,
    progress: Progress,
    endpoints: Endpoints,
    key: str,
    patience: RetryPolicy,
) -> Deliveries:
    """Batches of macro series, funds, coins and listed constituents, in that order; each continues where the store ends."""

    def site(name: str, address: str, secret: str = "", burst: int = patience.burst) -> Site:
        return Site(name, address, replace(patience, burst=burst), secret, Health(tell=lambda words: progress(words, 0, 0)))

    graph, vintages = site("FRED", endpoints.fred), site("ALFRED", endpoints.alfred, key)
    metrics, bars = site("Coin Metrics", endpoints.coins), site("Yahoo", endpoints.yahoo, burst=BARS_AT_ONCE)
    names = constituent_list.wanted(store) or [constituents.Wanted(name) for name in constituents.listed(store.path.parent)]
    progress("looking for the sources", 0, 0)
    refuse_without_network([graph, metrics, bars])
    yield from quality.compare_service_clocks(store, [graph, metrics, bars], today)
    yield from fred.deliveries(store, graph=graph, vintages=vintages, today=today, progress=progress)
    funds = yahoo.Shelf(store, "fund", FUNDS_LABEL, today)
    yield from yahoo.deliveries(funds, yahoo.fund_tickers(), bars, progress)
    llama = site("DefiLlama", endpoints.llama) if endpoints.asks_llama else None
    yield from coins.deliveries(store, metrics=metrics, yahoo=bars, today=today, progress=progress, llama=llama)
    if endpoints.asks_paprika:
        paprika = site("CoinPaprika", endpoints.paprika, burst=TODAYS_COINS_AT_ONCE)
        yield from todays_coins.deliveries(store, paprika, today, progress)
    if names:
        yield from constituents.deliveries(yahoo.Shelf(store, "stock", constituents.LABEL, today), names, bars, progress)


def refuse_without_network(sites: Sequence[Site]) -> None:
    """Look which of `sites` answer; those that don't are asked no more. Raises `SourceUnreachable` where none does."""
    found = [found for _, found in answers(look, sites, sites[0].patience)]
    if all(isinstance(one, SourceUnreachable) for one in found):
        raise SourceUnreachable(f"No source answers. {found[-1]}")
