"""A home filled by the real clients from a server on this machine, and what the user reads of it."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from replay import Replay
from rich.console import Console

from altrally.render import fetch_table
from core.progress import silent
from sources import fred, live, yahoo
from sources.batches import Batch, Skipped
from sources.fetch import FetchReport, fetch
from sources.http import RetryPolicy, Site
from sources.series import Panel, Series
from sources.store import Store
from sources.yahoo import Shelf, TickerRequest

QUICK = RetryPolicy(attempts=3, first_wait=0.0, longest_wait=0.0, timeout=5.0, pause=0.0)
TODAY = pd.Timestamp("2024-12-31 15:00")
LATER = pd.Timestamp("2025-03-01")


def fetch_live(
    store: Store,
    replay: Replay,
    monkeypatch: pytest.MonkeyPatch,
    *,
    key: str = "",
    today: pd.Timestamp = TODAY,
    patience: RetryPolicy = QUICK,
) -> FetchReport:
    """The whole provider, as the command line runs it."""
    for name in ("FRED", "ALFRED", "COINS", "YAHOO"):
        monkeypatch.setenv(f"ALTRALLY_{name}_URL", replay.address)
    monkeypatch.setenv("FRED_API_KEY", key)
    monkeypatch.setattr(live, "RetryPolicy", lambda: patience)
    return fetch(store, "live", today=today, progress=silent)


def fetch_funds(store: Store, replay: Replay, *tickers: str, today: pd.Timestamp = TODAY) -> list[Batch | Skipped]:
    """Bars of some funds, stored as they come."""
    shelf = Shelf(store, "fund", "funds", today)
    asked = [TickerRequest(ticker, ticker) for ticker in tickers]
    return stored_as_they_come(store, yahoo.deliveries(shelf, asked, Site("Yahoo", replay.address, QUICK), silent), today)


def fetch_fred(store: Store, replay: Replay, *wanted: Series, today: pd.Timestamp = TODAY) -> list[Batch | Skipped]:
    """Some FRED series, stored as they come."""
    in_order = replace(QUICK, at_once=1)
    delivered = fred.latest_values(store, list(wanted), Site("FRED", replay.address, in_order), today, silent)
    return stored_as_they_come(store, delivered, today)


def stored_as_they_come(store: Store, delivered: Iterable[Batch | Skipped], today: pd.Timestamp) -> list[Batch | Skipped]:
    """Each batch is in the store before the next one is asked for."""
    seen = []
    for one in delivered:
        seen.append(one)
        if isinstance(one, Batch):
            store.append(one, today)
    return seen


def said(delivered: Iterable[Batch | Skipped]) -> list[str]:
    """What a provider had to say."""
    return [f"{one.label}: {one.reason}" for one in delivered if isinstance(one, Skipped)]


def panel(store: Store, universe: str, field: str, as_of: pd.Timestamp = LATER) -> pd.DataFrame:
    """Days × symbols of a field, as known by a day."""
    return store.read_panel(Panel("asked", "yahoo", universe, field, "", pd.Timedelta(0)), as_of)


def read_by_the_user(report: FetchReport) -> list[str]:
    """The lines `altrally fetch` prints."""
    page = Console(width=400, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    page.print(fetch_table(report))
    return [line.strip() for line in page.export_text().splitlines()]


ROWS = """
SELECT 'observations' AS kept, series AS code, observed, known, version, value::VARCHAR AS said FROM observations
UNION ALL
SELECT universe, symbol, observed, known, version,
    concat_ws('|', open, high, low, close, adj_close, volume, market_cap, coalesce(asset_class, '')) FROM bars
JOIN symbols ON symbols.id = symbol_id
"""


def rows_of(file: Path) -> set[tuple[object, ...]]:
    """Everything a closed store holds, but for who brought it and when."""
    with duckdb.connect(str(file), read_only=True) as connection:
        return set(connection.execute(ROWS).fetchall())
