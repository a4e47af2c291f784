"""Constituents through yfinance's real client against a server on this machine: in batches, resumable, at the stored level."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from replay import NO_TICKER, Answer, Params, Replay, chart_body, serving

from core.errors import BadInput, FetchFailed
from core.progress import silent
from sources import constituents, live, yahoo
from sources.batches import Batch, Skipped
from sources.constituents import Wanted, continued, deliveries, listed
from sources.fetch import fetch
from sources.http import RetryPolicy, Site
from sources.series import STOCK_PRICE, STOCK_VOLUME
from sources.store import Store
from sources.yahoo import Shelf

QUICK = RetryPolicy(attempts=1, first_wait=0.0, longest_wait=0.0, timeout=5.0, pause=0.0)
TODAY = pd.Timestamp("2024-12-31 15:00")  # a Tuesday
LATER = pd.Timestamp("2025-03-01")
NAMES = [f"N{number}" for number in range(7)]
CHART = "/v8/finance/chart/"


def bars_of(name: str) -> pd.DataFrame:
    """Sessions of a name: adjusted closes lie below closes."""
    days = pd.bdate_range("2024-10-01", TODAY, unit="us")
    close = 20 + 5 * np.sin(np.arange(len(days)) / 7 + int(name[1:]))
    columns = {"open": close, "high": close + 1, "low": close - 1, "close": close, "adj_close": close * 0.9, "volume": 1000.0}
    return pd.DataFrame(columns, days)


@pytest.fixture
def market() -> dict[str, pd.DataFrame]:
    return {name: bars_of(name) for name in NAMES}


@pytest.fixture
def server(market: dict[str, pd.DataFrame]) -> Iterator[Replay]:
    def chart(path: str, params: Params) -> Answer:
        name = path.rpartition("/")[2]
        if name not in market:
            return Answer(NO_TICKER, 404)
        first, last = (
            pd.Timestamp(int(params.get(key, 0)), unit="s") for key in ("period1", "period2")
        )  # neither: it asks for the zone
        bars = market[name]
        return Answer(chart_body(name, bars[(bars.index >= first.floor("D")) & (bars.index < last)]))

    routes = {
        CHART: chart,
        "/": lambda path, params: Answer("ok", 200 if path == "/" else 404),
        "/v1/test/getcrumb": lambda path, params: Answer("crumb"),
    }
    with serving(routes) as replay:
        yield replay


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home" / "store.duckdb") as opened:
        yield opened


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constituents, "A_BATCH", 3)


def fetched(
    store: Store, server: Replay, names: list[str] = NAMES, *, today: pd.Timestamp = TODAY, stop_after: int = 99
) -> list[Batch | Skipped]:
    """What was delivered, stored as it came; stopped after some batches, as a user would."""
    server.asked.clear()
    seen: list[Batch | Skipped] = []
    shelf = Shelf(store, "stock", constituents.LABEL, today)
    for one in deliveries(shelf, [Wanted(name) for name in names], Site("Yahoo", server.address, QUICK), silent):
        seen.append(one)
        if isinstance(one, Batch):
            store.append(one, today)
        if len(seen) == stop_after:
            break
    return seen


def asked(server: Replay) -> list[str]:
    """Names whose bars were asked for; without a span it is their time zone."""
    return [path.rpartition("/")[2] for path, params in server.asked if path.startswith(CHART) and "period1" in params]


def test_every_listed_name_arrives_adjusted_in_batches(store: Store, server: Replay, market: dict[str, pd.DataFrame]) -> None:
    seen = fetched(store, server)
    assert [len(set(one.frame["symbol"])) for one in seen if isinstance(one, Batch)] == [3, 3, 1]
    price = store.read_panel(STOCK_PRICE, LATER)
    assert set(price) == set(NAMES)
    assert price["N3"].to_numpy() == pytest.approx(market["N3"].adj_close.to_numpy()[:-1], rel=1e-6)
    assert price.index[-1] == pd.Timestamp("2024-12-30"), "the running day is left out"
    assert set(store.asset_classes("stock").values()) == {"survivor"}


def test_each_name_is_asked_for_once(store: Store, server: Replay) -> None:
    fetched(store, server)
    assert set(Counter(asked(server)).values()) == {1}


def test_a_stopped_fetch_goes_on_where_it_stood(store: Store, server: Replay) -> None:
    fetched(store, server, stop_after=1)
    assert sorted(asked(server)) == ["N0", "N1", "N2"]
    fetched(store, server)
    assert sorted(asked(server)) == ["N3", "N4", "N5", "N6"]
    assert [one.current for one in fetched(store, server) if isinstance(one, Batch)] == [7]
    assert asked(server) == []


def test_the_names_longest_without_a_bar_come_first(store: Store, server: Replay) -> None:
    fetched(store, server, ["N5", "N6"], today=pd.Timestamp("2024-11-20"))
    fetched(store, server, ["N4"], today=pd.Timestamp("2024-12-10"))
    fetched(store, server, ["N4", "N5", "N6", "N0"])
    assert asked(server) == ["N0", "N5", "N6", "N4"]


def test_a_later_answer_is_brought_to_the_stored_level(store: Store, server: Replay, market: dict[str, pd.DataFrame]) -> None:
    fetched(store, server, ["N1"], today=pd.Timestamp("2024-12-10"))
    before = store.read_panel(STOCK_PRICE, LATER)["N1"]
    restated = bars_of("N1")
    restated["adj_close"] *= 0.5 * 0.99  # a two-for-one split and a dividend
    restated["volume"] *= 2
    market["N1"] = restated
    fetched(store, server, ["N1"])
    price, shares = store.read_panel(STOCK_PRICE, LATER)["N1"], store.read_panel(STOCK_VOLUME, LATER)["N1"]
    pd.testing.assert_series_equal(price[before.index], before)
    assert price.to_numpy() == pytest.approx(bars_of("N1").adj_close.to_numpy()[:-1], rel=1e-5)
    assert set(shares) == {1000.0}


def test_names_nobody_knows_are_told_in_one_line(store: Store, server: Replay) -> None:
    seen = fetched(store, server, ["GONE", "N1", "AWAY", "N2"])
    (told,) = [one for one in seen if isinstance(one, Skipped)]
    assert told.reason.startswith("Yahoo has no bars of 2 names (GONE, AWAY)")
    assert set(store.read_panel(STOCK_PRICE, LATER)) == {"N1", "N2"}


def test_a_name_that_fails_is_told_and_the_others_come(store: Store, server: Replay) -> None:
    good = server.routes[CHART]
    server.routes[CHART] = lambda path, params: Answer("Bad Gateway", 502) if path.endswith("N1") else good(path, params)
    (told,) = [one for one in fetched(store, server) if isinstance(one, Skipped)]
    assert told.reason.startswith("no bars came of 1 names (N1)")
    assert len(store.read_panel(STOCK_PRICE, LATER).columns) == len(NAMES) - 1


def test_a_source_that_has_had_enough_is_left_alone(store: Store, server: Replay) -> None:
    good = server.routes[CHART]
    server.routes[CHART] = lambda path, params: good(path, params) if path.endswith("N0") else Answer("Too Many Requests", 429)
    seen = fetched(store, server)
    assert "The rest of 7 names is asked for at the next fetch" in next(one.reason for one in seen if isinstance(one, Skipped))
    assert set(store.read_panel(STOCK_PRICE, LATER)) == {"N0"}
    assert len(set(asked(server))) < len(NAMES)
    server.routes[CHART] = good
    fetched(store, server)
    assert set(store.read_panel(STOCK_PRICE, LATER)) == set(NAMES)


def test_batches_rest_between_each_other(store: Store, server: Replay) -> None:
    rests: list[float] = []
    shelf = Shelf(store, "stock", constituents.LABEL, TODAY)
    patience = RetryPolicy(attempts=1, first_wait=0.0, longest_wait=0.0, timeout=5.0, pause=0.25, sleep=rests.append)
    site = Site("Yahoo", server.address, patience)
    list(deliveries(shelf, [Wanted(name) for name in NAMES], site, silent))
    assert Counter(rests) == {0.25: len(NAMES), 5.0: 2}


def test_the_live_market_brings_what_the_home_lists(store: Store, server: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.path.parent / constituents.LIST).write_text("# small caps\nn1  # lower case\n\nN2\nN1\n")
    for name in ("FRED", "ALFRED", "COINS", "YAHOO"):
        monkeypatch.setenv(f"ALTRALLY_{name}_URL", server.address)
    monkeypatch.setenv("FRED_API_KEY", "")
    monkeypatch.setattr(live, "RetryPolicy", lambda: QUICK)
    monkeypatch.setattr(live.fred, "deliveries", lambda *args, **more: iter(()))
    monkeypatch.setattr(live.coins, "deliveries", lambda *args, **more: iter(()))
    monkeypatch.setattr(yahoo, "fund_tickers", list)
    report = fetch(store, "live", today=TODAY, progress=silent)
    assert [line.label for line in report.lines] == ["constituents"]
    assert set(store.read_panel(STOCK_PRICE, LATER)) == {"N1", "N2"}


def test_a_list_that_is_none_is_refused(tmp_path: Path) -> None:
    assert listed(tmp_path) == []
    (tmp_path / constituents.LIST).write_text("N1,N2\n")
    with pytest.raises(BadInput, match=r"holds 'N1,N2'; write one ticker a line"):
        listed(tmp_path)


def test_a_list_is_utf_8_with_or_without_a_mark(tmp_path: Path) -> None:
    (tmp_path / constituents.LIST).write_text("N1\n", encoding="utf-8-sig")
    assert listed(tmp_path) == ["N1"]
    (tmp_path / constituents.LIST).write_text("N1  # Société\n", encoding="latin-1")
    with pytest.raises(BadInput, match="isn't UTF-8"):
        listed(tmp_path)


def test_bars_that_do_not_meet_the_stored_ones_are_refused() -> None:
    fetched = bars_of("N1")[["adj_close", "volume"]].set_axis(["close", "volume"], axis=1)
    with pytest.raises(FetchFailed, match="N1 don't reach back"):
        continued(fetched, fetched.set_axis(fetched.index - pd.DateOffset(years=2)), "N1")
