"""The real clients of Yahoo, FRED, ALFRED and Coin Metrics, against a server on this machine that answers as they do."""

import json
import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from live_home import LATER, QUICK, TODAY, fetch_fred, fetch_funds, fetch_live, panel, said, stored_as_they_come
from replay import NO_TICKER, Answer, Market, Params, Replay, Vintages, chart_body, serving

from core.errors import BadInput, FetchFailed
from core.progress import silent
from sources import coins, fred, live, stablecoins, yahoo
from sources.assets import class_of
from sources.batches import Batch, Skipped
from sources.coin_metrics import Coverage
from sources.http import RetryPolicy, Site, TransientError, as_json, ask, client_of
from sources.series import BTC, ETH, FED_ASSETS, HY_SPREAD, MONEY_SUPPLY, REVERSE_REPO, SPY, STABLECOIN_SUPPLY
from sources.simulated import simulate
from sources.store import Store
from sources.yahoo import TickerRequest, as_split, closed_bars, splice

KEY = "0123456789abcdef0123456789abcdef"
IN_ORDER = replace(QUICK, at_once=1)
FEW_COINS = coins.LARGE_COINS[:2]


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    return simulate(start="2020-01-01", end="2024-12-31", stocks=1, coins=5)


@pytest.fixture
def market(frames: dict[str, pd.DataFrame]) -> Market:
    return Market(dict(frames), pd.Timestamp("2024-03-01"), TODAY.normalize())


@pytest.fixture
def server(market: Market) -> Iterator[Replay]:
    with serving(market.routes()) as replay:
        yield replay


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home" / "store.duckdb") as opened:
        yield opened


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few funds and large coins, for speed."""
    monkeypatch.setattr(coins, "LARGE_COINS", FEW_COINS)
    monkeypatch.setattr(yahoo, "fund_tickers", lambda: [TickerRequest(ticker, ticker) for ticker in ("^RUT", "IWM", "SPY")])


# The whole provider


def test_a_fetch_brings_funds_series_and_coins(
    store: Store, server: Replay, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = fetch_live(store, server, monkeypatch)
    assert {line.label for line in report.lines} == {"FRED", "funds", "coin ranges", "coins", "stablecoin supply"}
    assert store.market == "live"
    assert set(panel(store, "fund", "close").columns) == {one.ticker for one in yahoo.fund_tickers()}
    assert panel(store, "fund", "adj_close")["SPY"].to_numpy() == pytest.approx(
        market.bars["SPY"].adj_close.to_numpy()[:-1], rel=1e-12
    )
    for series in (FED_ASSETS, REVERSE_REPO, SPY, BTC, ETH, STABLECOIN_SUPPLY):
        assert len(store.read(series, LATER)), series.name
    classes = store.asset_classes("coin")
    assert set(classes) == {coins.asset_of(code) for code in market.coins}
    assert {classes[asset] for asset in ("usdt", "usdc")} == {"stablecoin"}
    assert (classes["bitcoin"], classes["ethereum"], classes["coin-003"]) == ("btc", "coin", "coin")
    assert (panel(store, "coin", "volume")["bitcoin"] == panel(store, "coin_ohlc", "volume")["BTC"]).all()


def test_a_later_day_asks_from_the_overlap_on_for_what_can_be_new(
    store: Store, server: Replay, monkeypatch: pytest.MonkeyPatch, few: None
) -> None:
    fetch_live(store, server, monkeypatch)
    yesterday = TODAY - pd.Timedelta(days=1)
    before = store.snapshot(yesterday)
    server.asked.clear()
    tomorrow = TODAY + pd.Timedelta(days=1)
    fetch_live(store, server, monkeypatch, today=tomorrow)
    assert {params["id"] for params in server.asked_of("/graph")} == {"RRPONTSYD", "T10Y2Y"}  # known the next day
    assert min(params["cosd"] for params in server.asked_of("/graph")) == "2024-11-30"
    spans = [int(params["period1"]) for params in server.asked_of("/v8/finance/chart/") if "period1" in params]
    assert len(spans) == 3 + len(FEW_COINS)
    assert pd.Timestamp(min(spans), unit="s") > TODAY - pd.Timedelta(days=13)
    assert min(params["start_time"] for params in server.asked_of("/timeseries")) == "2024-12-20"
    assert store.snapshot(yesterday) == before


def test_a_second_fetch_of_a_day_asks_for_nothing_that_is_stored(
    store: Store, server: Replay, monkeypatch: pytest.MonkeyPatch, few: None
) -> None:
    fetch_live(store, server, monkeypatch)
    before = store.snapshot(LATER)
    server.asked.clear()
    report = fetch_live(store, server, monkeypatch)
    assert {path for path, _ in server.asked} == {"/catalog-v2/asset-metrics"}
    assert sum(line.current for line in report.lines) == 14 + 3 + len(FEW_COINS) + 1
    assert (sum(line.new for line in report.lines), store.snapshot(LATER)) == (0, before)


def test_an_interrupted_fetch_is_resumed(store: Store, server: Replay, monkeypatch: pytest.MonkeyPatch, few: None) -> None:
    partly = live.deliveries(store, today=TODAY, progress=silent, endpoints=server.endpoints, key="", patience=QUICK)
    for one in partly:
        if isinstance(one, Batch):
            store.append(one, TODAY)
            if one.label == "funds":
                break
    partly.close()
    fetch_live(store, server, monkeypatch)
    assert set(panel(store, "fund", "close").columns) == {one.ticker for one in yahoo.fund_tickers()}
    with Store.open(store.path.parent / "other" / "store.duckdb") as straight:
        fetch_live(straight, server, monkeypatch)
        assert straight.snapshot(LATER) == store.snapshot(LATER)


def test_the_running_day_is_never_stored(store: Store, server: Replay, monkeypatch: pytest.MonkeyPatch, few: None) -> None:
    fetch_live(store, server, monkeypatch)
    extent = store.extent(LATER)
    assert extent["last"].max() < TODAY.normalize()
    assert extent.query("universe == 'fund'")["last"].max() == pd.Timestamp("2024-12-30")


def test_a_first_version_is_known_after_the_declared_lag(
    store: Store, server: Replay, monkeypatch: pytest.MonkeyPatch, few: None
) -> None:
    fetch_live(store, server, monkeypatch)
    for series in (FED_ASSETS, HY_SPREAD, SPY, BTC, STABLECOIN_SUPPLY):
        rows = store.read(series, LATER)
        assert set(rows.known - rows.observed) == {series.release_lag}


def test_without_a_network_that_is_said_in_seconds(store: Store, market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(market.routes()) as gone:
        pass
    waits: list[float] = []
    with pytest.raises(FetchFailed, match=r"No source answers\. .* can't be reached") as error:
        fetch_live(store, gone, monkeypatch, patience=replace(RetryPolicy(), sleep=waits.append))
    assert sum(waits) < 25  # of three sources, waited for side by side
    assert "\n" not in str(error.value)
    assert store.market is None


def test_where_one_service_is_down_the_others_deliver(
    store: Store, server: Replay, market: Market, monkeypatch: pytest.MonkeyPatch, few: None
) -> None:
    with serving({}) as gone:
        pass
    addresses = replace(server.endpoints, yahoo=gone.address)
    delivered = stored_as_they_come(
        store, live.deliveries(store, today=TODAY, progress=silent, endpoints=addresses, key="", patience=QUICK), TODAY
    )
    told = [line for line in said(delivered) if "Yahoo" in line]
    assert len(told) == 3
    assert told[0].startswith("funds: Yahoo can't be reached")
    assert "Check the network and fetch again. 3 of 3 tickers did not come: " in told[0]
    assert "btc, eth wait for their volume" in told[2]
    assert len(store.read(FED_ASSETS, LATER))
    assert "coin-003" in panel(store, "coin", "close")
    assert "bitcoin" not in panel(store, "coin", "close")


def test_addresses_come_from_the_environment() -> None:
    assert live.endpoints_of({}) == live.Endpoints()
    chosen = live.endpoints_of({"ALTRALLY_COINS_URL": "http://127.0.0.1:1/v4/", "ALTRALLY_YAHOO_URL": ""})
    assert chosen == replace(live.Endpoints(), coins="http://127.0.0.1:1/v4")


@pytest.mark.parametrize("address", ["http://localhost:80a", "localhost:8000", "ftp://example.org", "http://", "http://[::1"])
def test_what_is_no_address_is_refused_by_the_name_of_its_variable(address: str) -> None:
    with pytest.raises(BadInput, match="ALTRALLY_FRED_URL"):
        live.endpoints_of({"ALTRALLY_FRED_URL": address})


# HTTP


def asked_once(replay: Replay, *first: Answer, patience: RetryPolicy = QUICK, secret: str = "") -> str:
    replay.first["/graph"] = list(first)
    site = Site("FRED", replay.address, patience, secret)
    with client_of(site) as client:
        return ask(client, site, "graph/fredgraph.csv", {"id": "WALCL", "api_key": secret}, what="WALCL", read=str)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server: Replay, status: int) -> None:
    body = asked_once(server, Answer("", status, {"Retry-After": "0"}), Answer("slow down", status))
    assert body.startswith("observation_date,WALCL")
    assert len(server.asked) == 3


def test_tries_are_bounded(server: Replay) -> None:
    with pytest.raises(FetchFailed, match=r"FRED gave no WALCL: HTTP 503\. Try again later\."):
        asked_once(server, *[Answer("", 503)] * 9)
    assert len(server.asked) == QUICK.attempts


@pytest.mark.parametrize(
    "headers",
    [{"Retry-After": "3600"}, {"Date": "Tue, 31 Dec 2024 15:00:00 GMT", "Retry-After": "Tue, 31 Dec 2024 16:00:00 GMT"}],
)
def test_a_wait_longer_than_our_patience_is_told_at_once(server: Replay, headers: dict[str, str]) -> None:
    with pytest.raises(FetchFailed, match=r"HTTP 429\. Try again after 3600 s"):
        asked_once(server, Answer("", 429, headers))
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            Answer('{"error": {"type": "forbidden", "message": "Not available with supplied credentials."}}', 403),
            "HTTP 403, Not available",
        ),
        (Answer("<html>no</html>", 404), "HTTP 404"),
    ],
)
def test_a_refusal_is_one_clear_line_and_not_asked_for_again(server: Replay, answer: Answer, words: str) -> None:
    with pytest.raises(FetchFailed, match=words) as error:
        asked_once(server, answer)
    assert "\n" not in str(error.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer("<!DOCTYPE html><html>Are you a robot?</html>"), "answered with a web page"),
        (Answer("  \n"), "answered with nothing"),
    ],
)
def test_a_useless_answer_is_asked_for_again_and_then_one_clear_line(server: Replay, answer: Answer, words: str) -> None:
    assert asked_once(server, answer).startswith("observation_date")
    with pytest.raises(FetchFailed, match=words) as error:
        asked_once(server, *[answer] * 9)
    assert "\n" not in str(error.value)


def test_what_is_not_json_is_asked_for_again() -> None:
    for body in ("[1, 2]", "{broken", "Will be right back"):
        with pytest.raises(TransientError, match="isn't whole JSON"):
            as_json(Site("Coin Metrics", "", QUICK), body)


def test_a_key_is_in_no_message_log_or_traceback(server: Replay, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    series = MONEY_SUPPLY
    wrong = Vintages(series.code, "another key", pd.DataFrame({"observed": [], "known": [], "value": []}))
    with serving(wrong.routes()) as refusing, serving({}) as gone:
        pass
    texts = []
    with serving(wrong.routes()) as refusing:
        for address in (refusing.address, gone.address):
            site = Site("ALFRED", address, QUICK, KEY)
            texts += said(list(fred.all_vintages(store, [series], site, TODAY, silent)))
            texts.append(repr(site))
            with client_of(site) as client, pytest.raises(FetchFailed) as error:
                fred.vintage_days(client, site, series.code)
            texts.append("".join(traceback.format_exception(error.value)))
    assert any("HTTP 400" in text for text in texts)
    assert any("can't be reached" in text for text in texts)
    assert KEY not in "\n".join([*texts, *(record.getMessage() for record in caplog.records)])
    assert any("/fred/series/vintagedates" in record.getMessage() for record in caplog.records)


# FRED


def test_an_empty_cell_is_missing_and_counted(store: Store, server: Replay) -> None:
    delivered = fetch_fred(store, server, REVERSE_REPO)
    batch = next(one for one in delivered if isinstance(one, Batch))
    assert batch.dropped == {"missing": 1, "running day": 1}
    assert pd.Timestamp("2024-12-25") not in set(store.read(REVERSE_REPO, LATER).observed)


def test_a_shortened_history_keeps_what_is_stored_and_says_so(store: Store, server: Replay, market: Market) -> None:
    fetch_fred(store, server, HY_SPREAD)
    rows = len(store.read(HY_SPREAD, LATER))
    late = market.frames["fred"].query("date >= '2024-12-10'")
    market.frames["fred"] = late
    told = said(fetch_fred(store, server, HY_SPREAD))
    assert len(told) == 1
    assert told[0].startswith("BAMLH0A0HYM2: its history was shortened: ")
    assert len(store.read(HY_SPREAD, LATER)) == rows
    with Store.open(store.path.parent / "new" / "store.duckdb") as empty:
        assert "came from 2024-12-10 only" in said(fetch_fred(empty, server, HY_SPREAD))[0]


def test_a_corrected_value_becomes_a_new_version_known_today(store: Store, server: Replay, market: Market) -> None:
    fetch_fred(store, server, FED_ASSETS)
    old = store.read(FED_ASSETS, LATER).set_index("observed").value
    fred_rows = market.frames["fred"]
    day = pd.Timestamp("2024-12-18")
    market.frames["fred"] = fred_rows.assign(value=fred_rows.value.where(fred_rows.date != day, 7.0))
    fetch_fred(store, server, FED_ASSETS, today=TODAY + pd.Timedelta(days=1))
    versions = store.read(FED_ASSETS, LATER).query("observed == @day")
    assert list(versions.value) == [old[day], 7.0]
    assert list(versions.known) == [day + FED_ASSETS.release_lag, pd.Timestamp("2025-01-01")]


@pytest.mark.parametrize(
    "body", ["observation_date,DGS10\n2024-12-01,4.1\n", "no table at all", "observation_date,WALCL\n2024-12-01,four\n"]
)
def test_a_body_that_is_no_table_is_told_and_the_rest_goes_on(store: Store, server: Replay, body: str) -> None:
    server.first["/graph"] = [Answer(body)] * QUICK.attempts
    delivered = fetch_fred(store, server, FED_ASSETS, HY_SPREAD)
    assert said(delivered)[0].startswith("WALCL: FRED gave no WALCL: it answered with something that is no table")
    assert len(store.read(HY_SPREAD, LATER))
    assert store.read(FED_ASSETS, LATER).empty


@pytest.mark.parametrize("name", ["DATE", "Date", "observation_date"])
def test_the_column_of_days_may_be_renamed(store: Store, server: Replay, market: Market, name: str) -> None:
    sent = market.graph
    server.routes["/graph/fredgraph.csv"] = lambda path, params: Answer(sent(path, params).body.replace("observation_date", name))
    fetch_fred(store, server, FED_ASSETS)
    assert len(store.read(FED_ASSETS, LATER)) == len(market.frames["fred"].query("series == @FED_ASSETS.code"))


def test_a_table_without_rows_is_told(store: Store, server: Replay) -> None:
    server.first["/graph"] = [Answer("observation_date,WALCL\n")]
    assert said(fetch_fred(store, server, FED_ASSETS)) == ["WALCL: FRED sent no value. Try again later."]


def test_revised_series_are_refused_without_a_key(store: Store, server: Replay, monkeypatch: pytest.MonkeyPatch, few: None) -> None:
    report = fetch_live(store, server, monkeypatch)
    told = [line for line in report.warnings if "FRED_API_KEY" in line]
    assert sorted(line.split(":")[0] for line in told) == ["DTWEXBGS", "ICSA", "M2SL", "NFCI"]
    assert store.read(MONEY_SUPPLY, LATER).empty


# ALFRED


@pytest.fixture
def vintages() -> Vintages:
    """January's value is published in February, revised in March, restated to the same in April; February's comes in March."""
    rows = [
        ("2024-01-01", "2024-02-27", 100.0), ("2024-01-01", "2024-03-26", 101.0), ("2024-02-01", "2024-03-26", 110.0),
        ("2024-02-01", "2024-04-23", 111.0), ("2024-03-01", "2024-04-23", np.nan),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["observed", "known", "value"])
    return Vintages(MONEY_SUPPLY.code, KEY, table.astype({"observed": "datetime64[us]", "known": "datetime64[us]"}))


def fetch_vintages(store: Store, replay: Replay) -> list[Batch | Skipped]:
    site = Site("ALFRED", replay.address, QUICK, KEY)
    return stored_as_they_come(store, fred.all_vintages(store, [MONEY_SUPPLY], site, TODAY, silent), TODAY)


def in_words(rows: pd.DataFrame) -> list[tuple[str, str, float]]:
    return [(f"{a:%m-%d}", f"{b:%m-%d}", value) for a, b, value in rows[["observed", "known", "value"]].itertuples(index=False)]


STORED_VINTAGES = [
    ("01-01", "02-27", 100.0), ("01-01", "03-26", 101.0), ("02-01", "03-26", 110.0), ("02-01", "04-23", 111.0),
]  # fmt: skip


def test_with_a_key_every_vintage_is_stored_with_its_day(store: Store, vintages: Vintages) -> None:
    with serving(vintages.routes()) as replay:
        delivered = fetch_vintages(store, replay)
    assert [one.source for one in delivered if isinstance(one, Batch)] == ["alfred"]
    assert [one.dropped for one in delivered if isinstance(one, Batch)] == [{"missing": 1}]
    assert store.has_vintages(MONEY_SUPPLY)
    assert in_words(store.read(MONEY_SUPPLY, LATER)) == STORED_VINTAGES
    assert in_words(store.read(MONEY_SUPPLY, pd.Timestamp("2024-03-01"))) == STORED_VINTAGES[:1]


@pytest.mark.parametrize(("vintages_a_request", "rows_a_page"), [(1, 100), (2, 1), (2000, 2)])
def test_neither_pages_nor_spans_change_what_is_stored(
    store: Store, vintages: Vintages, monkeypatch: pytest.MonkeyPatch, vintages_a_request: int, rows_a_page: int
) -> None:
    monkeypatch.setattr(fred, "VINTAGES_A_REQUEST", vintages_a_request)
    monkeypatch.setattr(fred, "ROWS_A_PAGE", rows_a_page)
    with serving(vintages.routes()) as replay:
        fetch_vintages(store, replay)
        spans = {params["realtime_start"] for params in replay.asked_of("/fred/series/observations")}
    assert in_words(store.read(MONEY_SUPPLY, LATER)) == STORED_VINTAGES
    assert len(spans) == (3 if vintages_a_request == 1 else 2 if vintages_a_request == 2 else 1)


def test_a_later_fetch_asks_for_the_new_vintages_only(store: Store, vintages: Vintages) -> None:
    whole = vintages.rows
    vintages.rows = whole[whole.known < "2024-04-01"]
    with serving(vintages.routes()) as replay:
        fetch_vintages(store, replay)
        vintages.rows = whole
        replay.asked.clear()
        fetch_vintages(store, replay)
        assert [params["realtime_start"] for params in replay.asked_of("/fred/series/observations")] == ["2024-03-26"]
        assert in_words(store.read(MONEY_SUPPLY, LATER)) == STORED_VINTAGES
        again = fetch_vintages(store, replay)
    assert [len(one.frame) for one in again if isinstance(one, Batch)] == [0]


def test_the_whole_provider_stores_vintages_where_a_key_is_given(
    store: Store, market: Market, vintages: Vintages, monkeypatch: pytest.MonkeyPatch, few: None
) -> None:
    revised = vintages.routes()["/fred/series/observations"]

    def observations(path: str, params: Params) -> Answer:
        return (revised if "realtime_start" in params else market.observations)(path, params)

    with serving(market.routes() | vintages.routes() | {"/fred/series/observations": observations}) as replay:
        report = fetch_live(store, replay, monkeypatch, key=KEY)
        assert not replay.asked_of("/graph")
    assert store.has_vintages(MONEY_SUPPLY)
    assert store.read(FED_ASSETS, LATER).value.iloc[-1] > 0
    assert not [line for line in report.warnings if "FRED_API_KEY" in line]


def test_what_the_api_does_not_give_comes_through_the_second_door(store: Store, server: Replay, market: Market) -> None:
    sites = {
        name: Site(name, server.address, replace(QUICK, at_once=1), secret) for name, secret in (("FRED", ""), ("ALFRED", KEY))
    }
    server.routes["/fred/series/observations"] = lambda path, params: Answer('{"error_message": "api_key is not registered"}', 400)
    wanted = [FED_ASSETS, HY_SPREAD]
    delivered = stored_as_they_come(
        store, fred.latest_values(store, wanted, sites["FRED"], TODAY, silent, api=sites["ALFRED"]), TODAY
    )
    assert not [line for line in said(delivered) if "registered" in line]
    assert len(store.read(FED_ASSETS, LATER))
    assert len(store.read(HY_SPREAD, LATER))
    assert len(server.asked_of("/fred/series/observations")) == 1


def test_an_honest_agent_asks(server: Replay) -> None:
    with client_of(Site("FRED", server.address, QUICK)) as client:
        assert client.headers["User-Agent"].startswith("altrally ")


def test_vintages_that_repeat_end(store: Store, vintages: Vintages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fred, "ROWS_A_PAGE", 1)
    routes = vintages.routes()
    first = {"realtime_start": "2024-02-27", "date": "2024-01-01", "value": "1"}
    routes["/fred/series/observations"] = lambda path, params: Answer(json.dumps({"observations": [first]}))
    with serving(routes) as replay:
        (line,) = said(fetch_vintages(store, replay))
        assert len(replay.asked_of("/fred/series/observations")) == 2
    assert "page after page without an end" in line


# Yahoo


def test_several_tickers_come_one_by_one(store: Store, server: Replay) -> None:
    delivered = fetch_funds(store, server, "SPY", "^RUT", "DX-Y.NYB")
    assert [type(one) for one in delivered] == [Batch] * 3
    assert set(panel(store, "fund", "close").columns) == {"SPY", "^RUT", "DX-Y.NYB"}
    assert "DX-Y.NYB" not in panel(store, "fund", "volume")


def test_an_unknown_ticker_is_told_and_the_rest_goes_on(store: Store, server: Replay) -> None:
    delivered = fetch_funds(store, server, "NOSUCH", "SPY")
    assert len(said(delivered)) == 1
    assert said(delivered)[0].startswith("NOSUCH: Yahoo has no")
    assert list(panel(store, "fund", "close").columns) == ["SPY"]


@pytest.mark.parametrize("timestamps", [{}, {"timestamp": []}])
def test_an_empty_table_is_told_and_the_rest_goes_on(
    store: Store, server: Replay, market: Market, timestamps: dict[str, list[int]]
) -> None:
    body = json.loads(chart_body("IWM", market.bars["IWM"].iloc[:0]))
    body["chart"]["result"][0] |= timestamps
    server.routes["/v8/finance/chart/IWM"] = lambda path, params: Answer(json.dumps(body))
    delivered = fetch_funds(store, server, "IWM", "SPY")
    assert len(said(delivered)) == 1
    assert "holds no bars" in said(delivered)[0] or "sent an empty table" in said(delivered)[0]
    assert list(panel(store, "fund", "close").columns) == ["SPY"]


@pytest.mark.parametrize(
    "answer", [Answer("Too Many Requests", 429), Answer("<html>Service unavailable</html>", 503), Answer("<html>hm</html>")]
)
def test_a_tired_yahoo_is_asked_again(store: Store, server: Replay, answer: Answer) -> None:
    server.first["/v8/finance/chart/"] = [answer, answer]
    assert said(fetch_funds(store, server, "SPY")) == []
    assert len(panel(store, "fund", "close"))


def test_a_yahoo_that_stays_tired_is_one_clear_line(store: Store, server: Replay) -> None:
    server.routes["/v8/finance/chart/"] = lambda path, params: Answer("Too Many Requests", 429)
    delivered = fetch_funds(store, server, "SPY", "IWM")
    assert sorted(said(delivered)) == [
        f"{ticker}: Yahoo gave no bars of {ticker}: HTTP 429 (it asks for fewer requests). Try again later."
        for ticker in ("IWM", "SPY")
    ]


def test_days_without_a_close_are_left_for_another_time(store: Store, server: Replay, market: Market) -> None:
    whole = market.bars["SPY"]
    late = whole.index >= "2024-12-27"
    market.bars["SPY"] = whole.assign(close=whole.close.mask(late), adj_close=whole.adj_close.mask(late))
    batch = fetch_funds(store, server, "SPY")[0]
    assert isinstance(batch, Batch)
    assert batch.dropped == {"no close yet": 2}
    market.bars["SPY"] = whole
    fetch_funds(store, server, "SPY", today=TODAY + pd.Timedelta(days=1))
    assert panel(store, "fund", "close")["SPY"].to_numpy() == pytest.approx(whole.close.to_numpy(), rel=1e-12)


def test_a_day_that_comes_twice_is_stored_once(store: Store, server: Replay, market: Market) -> None:
    """As Yahoo sends a session beside the same one at the moment of its last trade."""
    body = json.loads(chart_body("SPY", market.bars["SPY"]))
    result = body["chart"]["result"][0]
    for values in (*result["indicators"]["quote"][0].values(), result["indicators"]["adjclose"][0]["adjclose"]):
        values.insert(-1, values[-2])
    result["timestamp"].insert(-1, result["timestamp"][-2] + 6 * 3600)
    server.routes["/v8/finance/chart/SPY"] = lambda path, params: Answer(json.dumps(body))
    assert said(fetch_funds(store, server, "SPY")) == []
    assert panel(store, "fund", "close")["SPY"].to_numpy() == pytest.approx(market.bars["SPY"].close.to_numpy()[:-1], rel=1e-12)


def test_the_running_day_is_dropped_even_where_yahoo_sends_it() -> None:
    days = pd.DatetimeIndex(["2024-12-30", "2024-12-31"])
    bars, dropped = closed_bars(pd.DataFrame({"close": [1.0, 2.0], "volume": [0.0, 5.0]}, index=days), TODAY)
    assert list(bars.index) == [days[0]]
    assert np.isnan(bars.volume.iloc[0])
    assert dropped == {"running day": 1}


def test_a_dividend_leaves_stored_history_and_later_returns_untouched(store: Store, server: Replay, market: Market) -> None:
    whole = market.bars["SPY"]
    market.bars["SPY"] = whole[whole.index < "2024-12-10"]
    fetch_funds(store, server, "SPY", today=pd.Timestamp("2024-12-10"))
    before = panel(store, "fund", "adj_close")["SPY"]
    market.bars["SPY"] = whole.assign(adj_close=whole.adj_close * np.where(whole.index < "2024-12-16", 0.985, 1.0))
    fetch_funds(store, server, "SPY")
    after = panel(store, "fund", "adj_close")["SPY"]
    assert (after[before.index] == before).all()
    restated = market.bars["SPY"].adj_close.pct_change()[after.index]
    assert after.pct_change().iloc[1:].to_numpy() == pytest.approx(restated.iloc[1:].to_numpy(), rel=1e-9, abs=1e-12)


def test_a_split_is_undone_and_told(store: Store, server: Replay, market: Market) -> None:
    whole = market.bars["XBI"]
    market.bars["XBI"] = whole[whole.index < "2024-12-10"]
    fetch_funds(store, server, "XBI", today=pd.Timestamp("2024-12-10"))
    halved = {name: whole[name] / 3 for name in ("open", "high", "low", "close", "adj_close")}
    market.bars["XBI"] = whole.assign(**halved, volume=whole.volume * 3)
    delivered = fetch_funds(store, server, "XBI")
    assert said(delivered) == ["XBI: was split 3-for-1 after it was first stored; bars are kept at the level before that."]
    for name in ("open", "close", "adj_close", "volume"):
        assert panel(store, "fund", name)["XBI"].to_numpy() == pytest.approx(whole[name].to_numpy()[:-1], rel=1e-9)
    versions = store.read(replace(SPY, code="XBI", field="close"), LATER)
    assert not versions.observed.duplicated().any()


def test_splits_are_read_from_ratios() -> None:
    assert [str(as_split(ratio)) for ratio in (1.0, 1.004, 1.9999999, 0.1, 1.5, 0.9545)] == ["1", "1", "2", "1/10", "3/2", "1"]


def test_a_corrected_bar_takes_its_adjusted_close_along() -> None:
    days = pd.date_range("2024-01-01", periods=3)
    columns = ["open", "high", "low", "close", "adj_close", "volume"]
    stored = pd.DataFrame([[10, 12, 9, 10.0, 5.0, 100]] * 2, index=days[:2], columns=columns)
    fetched = pd.DataFrame(
        [[10, 12, 9, 10.0, 10.0, 100], [10, 12, 9, 11.0, 11.0, 100], [10, 12, 9, 12.0, 12.0, 100]], index=days, columns=columns
    )
    bars = splice(fetched, stored, "X").bars
    assert list(bars.close) == [10.0, 11.0, 12.0]
    assert bars.adj_close.iloc[0] == 5.0
    assert bars.adj_close.iloc[1] == pytest.approx(5.5)


def test_bars_that_do_not_reach_the_stored_ones_are_refused() -> None:
    def bars(day: str) -> pd.DataFrame:
        return pd.DataFrame({name: [1.0] for name in yahoo.FIELDS}, index=pd.DatetimeIndex([day]))

    with pytest.raises(FetchFailed, match="don't reach back to 2024-01-02"):
        splice(bars("2024-03-01"), bars("2024-01-02"), "SPY")


def test_yfinance_keeps_nothing_on_disk_and_asks_once_a_ticker(store: Store, server: Replay) -> None:
    fetch_funds(store, server, "SPY", "BTC-USD")
    assert [file.name for file in store.path.parent.iterdir() if "duckdb" not in file.name] == ["store.lock"]
    assert sorted(path for path, _ in server.asked if "chart" in path) == [
        f"/v8/finance/chart/{name}" for name in ("BTC-USD", "SPY")
    ]


# Coin Metrics


def metrics_site(replay: Replay) -> Site:
    return Site("Coin Metrics", replay.address, QUICK)


def fetch_coins(store: Store, replay: Replay, today: pd.Timestamp = TODAY) -> list[Batch | Skipped]:
    sites = {"metrics": metrics_site(replay), "yahoo": Site("Yahoo", replay.address, QUICK)}
    return stored_as_they_come(store, coins.deliveries(store, **sites, today=today, progress=silent), today)


def test_pages_are_followed_on_the_address_we_chose(store: Store, server: Replay, few: None) -> None:
    fetch_coins(store, server)
    tokens = [params for params in server.asked_of("/timeseries") if "next_page_token" in params]
    assert tokens
    assert (panel(store, "coin", "close")["bitcoin"].index.diff()[1:] == pd.Timedelta(days=1)).all()


def test_a_copy_on_another_chain_is_no_asset_of_its_own(server: Replay) -> None:
    with client_of(metrics_site(server)) as client:
        listed = coins.catalogue(client, metrics_site(server), "PriceUSD", TODAY)
    assert not [one for one in listed if "_" in one.code]
    assert Coverage("btc", pd.Timestamp("2024-03-01"), pd.Timestamp("2024-12-31")) in listed


def test_a_dead_coin_is_kept_and_not_asked_for_again(store: Store, server: Replay, market: Market, few: None) -> None:
    rows = market.coins["coin-003"]
    market.coins["coin-003"] = rows[rows.date < "2024-06-01"]
    fetch_coins(store, server)
    server.asked.clear()
    fetch_coins(store, server, today=TODAY + pd.Timedelta(days=1))
    assert not [params for params in server.asked_of("/timeseries") if "coin-003" in params["assets"]]
    assert panel(store, "coin", "close")["coin-003"].last_valid_index() == pd.Timestamp("2024-05-31")


def test_a_large_coin_waits_for_its_volume(store: Store, server: Replay, few: None) -> None:
    server.routes["/v8/finance/chart/"] = lambda path, params: Answer("Too Many Requests", 429)
    delivered = fetch_coins(store, server)
    assert "coins: btc, eth wait for their volume from Yahoo, which did not come this time; fetch again." in said(delivered)
    assert "coin-003" in panel(store, "coin", "close")
    server.routes["/v8/finance/chart/"] = Market.chart.__get__(server.routes["/timeseries/asset-metrics"].__self__)  # type: ignore[attr-defined]
    fetch_coins(store, server, today=TODAY + pd.Timedelta(days=1))
    rows = store.read(replace(BTC, field="volume"), LATER)
    assert set(rows.known - rows.observed) == {BTC.release_lag}


def test_a_stored_large_coin_goes_on_without_yahoo(store: Store, server: Replay, market: Market, few: None) -> None:
    fetch_coins(store, server)
    server.routes["/v8/finance/chart/"] = lambda path, params: Answer("Too Many Requests", 429)
    fetch_coins(store, server, today=TODAY + pd.Timedelta(days=1))
    day = pd.Timestamp("2024-12-31")
    assert np.isfinite(panel(store, "coin", "close").loc[day, "bitcoin"])
    assert day not in panel(store, "coin", "volume").get("bitcoin", pd.Series()).dropna().index


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer('{"data": "none"}'), "Coin Metrics sent no list of coins"),
        (Answer('{"data": []}'), "lists no asset with a daily PriceUSD"),
        (
            Answer('{"error": {"type": "forbidden", "message": "Requested resource is not available."}}', 403),
            "Requested resource is not available",
        ),
    ],
)
def test_a_useless_catalogue_is_one_clear_line(store: Store, server: Replay, few: None, answer: Answer, words: str) -> None:
    server.first["/catalog-v2"] = [answer]
    assert words in said(fetch_coins(store, server))[-1]


def test_one_bad_group_of_coins_does_not_stop_the_others(
    store: Store, server: Replay, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coins, "ASSETS_A_REQUEST", 3)
    nothing = json.dumps({"data": [{"asset": "btc", "time": "2024-12-01T00:00:00.000000000Z", "PriceUSD": None}]})
    server.first["/timeseries"] = [Answer(nothing)]
    delivered = fetch_coins(store, server)
    assert [line for line in said(delivered) if "Coin Metrics sent no PriceUSD" in line]
    assert len(panel(store, "coin", "close").columns) >= 5


def test_supply_is_the_sum_of_all_that_exist_by_then(store: Store, server: Replay, market: Market, few: None) -> None:
    fetch_coins(store, server)
    supply = store.read(STABLECOIN_SUPPLY, LATER).set_index("observed").value
    assert supply["2024-03-01"] == 2 * 1000000.5
    assert supply["2024-12-30"] == 3 * 1000000.5
    assert pd.Timestamp("2024-06-01") not in supply.index
    assert supply.index[-1] == pd.Timestamp("2024-12-30")


def test_supply_stops_where_a_counted_stablecoin_is_no_longer_followed(
    store: Store, server: Replay, market: Market, few: None
) -> None:
    del market.stable_start["dai"]
    assert "no longer lists the supply of dai" in said(fetch_coins(store, server))[-1]
    assert store.read(STABLECOIN_SUPPLY, LATER).empty


def test_only_coins_can_be_in_an_index_of_altcoins() -> None:
    said_of = {code: class_of(code) for code in ("btc", "eth", *stablecoins.COUNTED, "wbtc", "steth", "paxg", "ftt")}
    assert {code for code, name in said_of.items() if name == "coin"} == {"eth", "ftt"}
    declared = [coin.asset for coin in coins.LARGE_COINS]
    assert len(set(declared)) == len(declared)
    assert {BTC.code, ETH.code} <= set(declared)


# Real bodies


@pytest.mark.reference
def test_real_fredgraph_bodies_are_read(reference: Path) -> None:
    site = Site("FRED", "", QUICK)
    tables = {}
    for file in sorted((reference / "cassettes" / "fred").glob("fredgraph_*.csv")):
        code = file.stem.removeprefix("fredgraph_")
        tables[code] = fred.read_graph(site, file.read_text(), code)
    assert len(tables) >= 10
    assert tables["RRPONTSYD"].value.isna().any()
    assert tables["WALCL"].iloc[0].to_list() == [pd.Timestamp("2002-12-18"), 719542.0]
    short = tables["BAMLH0A0HYM2"]
    assert next(fred._shortened(HY_SPREAD, short.observed.min())).startswith("came from")


@pytest.mark.reference
def test_real_bodies_of_the_fred_api_are_read(reference: Path) -> None:
    site = Site("ALFRED", "", QUICK, KEY)
    body = (reference / "cassettes" / "fred" / "api_observations_M2SL.json").read_text()
    rows = fred._periods(site, as_json(site, body)["observations"], "M2SL")
    assert len(rows) == 60
    assert (rows.known > rows.observed).all()


@pytest.mark.reference
def test_real_bodies_of_coin_metrics_are_read(reference: Path) -> None:
    bodies = {
        name: (reference / "cassettes" / f"coinmetrics_asset_metrics_btc{name}.json").read_text() for name in ("", "_price_2010")
    }
    answers = {"/timeseries": lambda path, params: Answer(bodies["_price_2010"] if "PriceUSD" in params["metrics"] else bodies[""])}
    with serving(answers) as replay, client_of(metrics_site(replay)) as client:
        rows = coins.asset_metrics(client, metrics_site(replay), ["btc"], ["PriceUSD", "CapMrktCurUSD"], coins.FIRST_DAY)
        counts = coins.asset_metrics(client, metrics_site(replay), ["btc"], ["TxCnt"], coins.FIRST_DAY)
    assert list(rows.PriceUSD) == [0.08584, 0.0808]
    assert rows.CapMrktCurUSD.isna().all()
    assert counts.observed.iloc[0] == pd.Timestamp("2026-02-17")


@pytest.mark.reference
def test_real_bodies_of_yahoo_are_read(store: Store, reference: Path) -> None:
    folder = reference / "cassettes" / "yahoo"
    files = {"360750.KS": "chart_360750.KS_dividends.json", "BTC-USD": "chart_BTC-USD_1d_openbb.json"}
    missing = (reference / "cassettes" / "yahoo_chart_404.json").read_text()

    def chart(path: str, params: Params) -> Answer:
        ticker = path.rpartition("/")[2]
        return Answer((folder / files[ticker]).read_text()) if ticker in files else Answer(missing, 404)

    with serving({"/v8/finance/chart/": chart, "/": lambda path, params: Answer("ok")}) as replay:
        delivered = fetch_funds(store, replay, "360750.KS", "BTC-USD", "GONE", today=pd.Timestamp("2026-11-20"))
    adjusted, close = panel(store, "fund", "adj_close")["360750.KS"].dropna(), panel(store, "fund", "close")["360750.KS"].dropna()
    assert len(close) > 1000
    assert adjusted.iloc[0] < close.iloc[0]
    assert panel(store, "fund", "close")["BTC-USD"].dropna().to_list() == [95219.0234375]
    assert len(said(delivered)) == 1


def test_the_replayed_bodies_have_the_shape_of_real_ones() -> None:
    body = json.loads(
        chart_body("SPY", pd.DataFrame({name: [1.0] for name in yahoo.FIELDS}, index=pd.DatetimeIndex(["2024-01-02"])))
    )
    result = body["chart"]["result"][0]
    assert result["timestamp"] == [1704205800]
    assert set(result["indicators"]["quote"][0]) == {"open", "high", "low", "close", "volume"}
    assert json.loads(NO_TICKER)["chart"]["error"]["code"] == "Not Found"
