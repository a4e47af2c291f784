"""Today's large coins that no other source prices come from CoinPaprika; nothing stored from elsewhere is touched."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from live_home import LATER, QUICK, TODAY, panel, said, stored_as_they_come
from replay import Answer, Params, Replay, serving

from core.progress import silent
from sources import todays_coins
from sources.batches import Batch, Skipped
from sources.coins import PRICED_ELSEWHERE
from sources.http import Site
from sources.live import Endpoints
from sources.store import Store

TICKERS, DAY = "/tickers", pd.Timedelta(days=1)
NAMES = [
    ("btc-bitcoin", "BTC", "Bitcoin"), ("usdt-tether", "USDT", "Tether"), ("new-new-coin", "NEW", "New Coin"),
    ("odd-odd-coin", "ODD", "Odd Coin"), ("xyzusd-xyz", "XYZUSD", "XYZ Dollar"), ("wnew-wrapped-new", "WNEW", "Wrapped New"),
    ("new-second", "NEW", "Another of that symbol"), ("old-old-coin", "OLD", "Old Coin"),
]  # fmt: skip


def ticker(rank: int, name: str, symbol: str, title: str) -> dict[str, Any]:
    """As the documentation of `GET /tickers` has it."""
    usd = {"price": 2.0, "volume_24h": 1e6, "market_cap": 1e9 / rank}
    return {
        "id": name,
        "name": title,
        "symbol": symbol,
        "rank": rank,
        "last_updated": "2024-12-31T14:55:00Z",
        "quotes": {"USD": usd},
    }


def tick(day: pd.Timestamp, **otherwise: Any) -> dict[str, Any]:
    """As the documentation of `GET /tickers/{coin_id}/historical` has it."""
    number = (day - pd.Timestamp("2024-01-01")).days
    row = {"timestamp": f"{day:%Y-%m-%dT%H:%M:%SZ}", "price": 2.0 + number / 1000, "volume_24h": 1000000, "market_cap": 1000000000}
    return row | otherwise


class Paprika:
    """The service: eight large coins, and daily prices of any of them up to the running day."""

    def __init__(self) -> None:
        self.first, self.today = pd.Timestamp("2024-11-01"), TODAY.normalize()
        self.refused: set[str] = set()

    def answer(self, path: str, params: Params) -> Answer:
        name = path.removeprefix(f"{TICKERS}/").removesuffix("/historical")
        if path == TICKERS:
            return Answer(json.dumps([ticker(rank, *row) for rank, row in enumerate(NAMES, 1)]))
        if name in self.refused:
            return Answer('{"error": "payment required"}', 402)
        days = pd.date_range(max(self.first, pd.Timestamp(params["start"])), self.today)
        return Answer(json.dumps([tick(day) for day in days]))


@pytest.fixture
def paprika() -> Paprika:
    return Paprika()


@pytest.fixture
def replay(paprika: Paprika) -> Iterator[Replay]:
    with serving({TICKERS: paprika.answer}) as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home" / "store.duckdb") as opened:
        opened.note(PRICED_ELSEWHERE, json.dumps(["btc", "eth"]))
        day = pd.Timestamp("2022-01-01")
        frame = pd.DataFrame({"symbol": ["old"], "observed": [day], "known": [day + DAY], "close": [1.0], "asset_class": ["coin"]})
        opened.append(Batch("coins", "bars", frame, "coinmetrics", "coin"), TODAY)
        yield opened


def fetched(store: Store, replay: Replay, today: pd.Timestamp = TODAY) -> list[Batch | Skipped]:
    site = Site("CoinPaprika", replay.address, QUICK)
    return stored_as_they_come(store, todays_coins.deliveries(store, site, today, silent), today)


def test_only_coins_without_a_price_are_filled_with_their_source(store: Store, replay: Replay) -> None:
    assert said(fetched(store, replay)) == []
    closes = panel(store, "coin", "close", LATER)
    assert set(closes) == {"new", "odd", "old"}
    assert closes["old"].count() == 1  # priced by another source once: never spliced
    assert (closes["new"].first_valid_index(), closes["new"].last_valid_index()) == (
        pd.Timestamp("2024-11-01"),
        TODAY.normalize() - DAY,
    )
    assert closes.loc["2024-12-30", "new"] == 2.0 + 364 / 1000
    assert panel(store, "coin", "market_cap")["new"].loc["2024-12-30"] == 1e9
    sources = store.sources("coin").set_index("symbol")["source"]
    assert (sources["new"], sources["old"]) == ("coinpaprika", "coinmetrics")
    asked = [path for path, _ in replay.asked]
    assert sorted(asked) == [TICKERS, "/tickers/new-new-coin/historical", "/tickers/odd-odd-coin/historical"]


def test_a_price_counts_as_known_the_day_after_its_stamp(store: Store, replay: Replay) -> None:
    fetched(store, replay)
    as_of = pd.Timestamp("2024-12-20")
    assert panel(store, "coin", "close", as_of)["new"].last_valid_index() == as_of - DAY


def test_a_later_day_asks_for_little_and_a_second_fetch_for_nothing(store: Store, replay: Replay, paprika: Paprika) -> None:
    fetched(store, replay)
    replay.asked.clear()
    fetched(store, replay)
    assert replay.asked == []
    paprika.today += DAY
    fetched(store, replay, TODAY + DAY)
    assert [params["start"] for _, params in replay.asked] == ["2024-12-20"] * 2
    assert panel(store, "coin", "close", LATER)["new"].last_valid_index() == TODAY.normalize()


def test_what_is_refused_is_told_once_a_month_and_the_rest_comes(store: Store, replay: Replay, paprika: Paprika) -> None:
    paprika.refused = {"odd-odd-coin"}
    told = [said(fetched(store, replay, TODAY + days * DAY)) for days in (0, 1, 31)]
    line = "today's coins: 1 of 2 did not come (CoinPaprika gave no prices of odd: HTTP 402): odd. Told once a month."
    assert told[0] == [line]
    assert [len(lines) for lines in told][:2] == [1, 0]
    assert set(panel(store, "coin", "close", LATER)) == {"new", "old"}


@pytest.mark.parametrize("body", ["{}", "[1]", '[{"rank": 1}]', "<html>", ""])
def test_what_is_no_list_is_one_line_a_month(store: Store, replay: Replay, body: str) -> None:
    replay.routes[TICKERS] = lambda path, params: Answer(body)
    told = [said(fetched(store, replay, TODAY + days * DAY)) for days in (0, 1)]
    assert [len(lines) for lines in told] == [1, 0]
    assert told[0][0].endswith("stay without a price. Told once a month.")


def test_it_is_asked_only_where_coins_are_fetched_from_their_usual_place_or_it_is_named() -> None:
    assert Endpoints().asks_paprika
    assert not Endpoints(coins="http://127.0.0.1:1").asks_paprika
    assert Endpoints(coins="http://127.0.0.1:1", paprika="http://127.0.0.1:2").asks_paprika
