"""A service that doesn't answer, or refuses, costs its own time; the others deliver, and it is told in few lines."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from live_home import LATER, QUICK, TODAY, fetch_funds, fetch_live, panel, said
from replay import NO_TICKER, Answer, Market, Params, Replay, serving
from wide_market import declare_few

from altrally.watch import Watch, fetch_round
from core.home import Home
from core.progress import silent
from sources import live
from sources.series import FED_ASSETS, HY_SPREAD, SPY
from sources.simulated import simulate
from sources.store import Store
from sources.yahoo import TickerRequest, lost_sessions

CHART, GRAPH = "/v8/finance/chart/", "/graph/fredgraph.csv"
TICKERS = tuple(f"T{number:02}" for number in range(30))
HURRIED = replace(QUICK, timeout=0.4, budget=1.0)


@pytest.fixture(scope="module")
def market() -> Market:
    frames = simulate(start="2020-01-01", end="2024-12-31", stocks=1, coins=5)
    return Market(frames, pd.Timestamp("2024-10-01"), TODAY.normalize())


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    declare_few(monkeypatch, "SPY", "IWM", "^RUT", series=(FED_ASSETS, HY_SPREAD), large_coins=2)


@pytest.fixture
def replay(market: Market) -> Iterator[Replay]:
    with serving(market.routes()) as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home" / "store.duckdb") as opened:
        yield opened


def silence(path: str, params: Params) -> Answer:
    return Answer("", how="silence")


# No answer


@pytest.mark.parametrize(
    ("path", "label", "kept"),
    [(CHART, "funds", "coins"), (GRAPH, "FRED", "coins"), ("/catalog-v2/asset-metrics", "coins", "FRED")],
)
def test_a_service_that_never_answers_costs_its_own_budget(
    store: Store, replay: Replay, monkeypatch: pytest.MonkeyPatch, path: str, label: str, kept: str
) -> None:
    declare_few(monkeypatch, *TICKERS, "SPY", series=(FED_ASSETS, HY_SPREAD), large_coins=2)
    replay.routes[path] = silence
    report = fetch_live(store, replay, monkeypatch, patience=HURRIED)
    assert len(replay.asked_of(path)) <= 4 * HURRIED.at_once  # of 33 tickers, three times each
    assert any(line.startswith(f"{label}: ") and "can't be reached for" in line for line in report.warnings)
    assert report.gone
    assert kept in {line.label for line in report.lines}


def test_what_is_waited_for_is_told_while_it_is(store: Store, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    replay.routes[GRAPH] = silence
    told: list[str] = []
    for name in ("FRED", "ALFRED", "COINS", "YAHOO"):
        monkeypatch.setenv(f"ALTRALLY_{name}_URL", replay.address)
    monkeypatch.setattr(live, "RetryPolicy", lambda: HURRIED)
    for _ in live.batches(store, path=None, today=TODAY, progress=lambda label, done, total: told.append(label)):
        pass
    assert "FRED doesn't answer; it is given up in 1 s" in told


def test_a_service_found_dead_at_the_first_look_is_asked_nothing(
    store: Store, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving({}) as gone:
        pass
    fetched = live.deliveries(
        store,
        today=TODAY,
        progress=silent,
        endpoints=replace(replay.endpoints, fred=gone.address),
        key="",
        patience=replace(QUICK, sleep=lambda seconds: None),
    )
    (line,) = [line for line in said(fetched) if line.startswith("FRED: ")]
    assert "2 series were not asked for" in line


def test_no_thread_outlives_its_fetch_and_nothing_is_printed(
    store: Store, replay: Replay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    replay.routes[CHART] = silence
    fetch_live(store, replay, monkeypatch, patience=HURRIED)
    assert [thread.name for thread in threading.enumerate() if thread.name == "altrally asks"] == []
    assert capfd.readouterr().err == ""


def test_watch_says_that_a_service_was_gone_after_doing_the_rest(
    tmp_path: Path, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay.routes[GRAPH] = silence
    for name in ("FRED", "ALFRED", "COINS", "YAHOO"):
        monkeypatch.setenv(f"ALTRALLY_{name}_URL", replay.address)
    monkeypatch.setattr(live, "RetryPolicy", lambda: HURRIED)
    home = Home(tmp_path / "home")
    home.folder.mkdir()
    troubles: list[str] = []
    new, warnings = fetch_round(Watch(home, "live"), TODAY, silent, troubles)
    assert new
    assert [line.split(":")[0] for line in troubles] == ["FRED"]
    assert not [line for line in warnings if line in troubles]


# Refusals


def test_a_blanket_429_ends_after_a_short_run_and_is_one_line(store: Store, replay: Replay) -> None:
    replay.routes[CHART] = lambda path, params: Answer("Too Many Requests", 429)
    (line,) = said(fetch_funds(store, replay, *TICKERS))
    assert line.startswith(
        "funds: Yahoo refused 16 requests in a row, with HTTP 429 (it asks for fewer requests), and is asked no more."
    )
    assert "30 of 30 tickers did not come: T00, T01, T02, …" in line
    assert len(replay.asked_of(CHART)) < 16 + 2 * QUICK.at_once


def test_neither_cookie_nor_crumb_is_asked_for(store: Store, replay: Replay) -> None:
    fetch_funds(store, replay, "SPY", "IWM")
    assert len(replay.asked) == 2
    assert not [params for _, params in replay.asked if "crumb" in params]


def test_a_yahoo_that_wants_a_crumb_gets_one_for_all(store: Store, replay: Replay, market: Market) -> None:
    def wants(path: str, params: Params) -> Answer:
        return market.chart(path, params) if params.get("crumb") == "crumb" else Answer(INVALID_CRUMB, 401)

    replay.routes[CHART] = wants
    assert said(fetch_funds(store, replay, "SPY", "IWM", "^RUT")) == []
    assert len(replay.asked_of("/v1/test/getcrumb")) == 1
    assert len(panel(store, "fund", "close").columns) == 3


INVALID_CRUMB = '{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}'


def test_an_invalid_crumb_is_no_fault_of_the_ticker(store: Store, replay: Replay) -> None:
    replay.routes[CHART] = lambda path, params: Answer(INVALID_CRUMB, 401)
    (line,) = said(fetch_funds(store, replay, "SPY"))
    assert "HTTP 401, it refuses the crumb it gave itself. It is no fault of the ticker. Fetch again in an hour." in line
    assert len(replay.asked_of("/v1/test/getcrumb")) == 1


@pytest.mark.parametrize("refusal", ["Too Many Requests\r\n", "<html>no</html>", '{"finance":{"result":null}}', ""])
def test_a_refusal_is_not_taken_for_a_crumb(store: Store, replay: Replay, refusal: str) -> None:
    replay.routes["/v1/test/getcrumb"] = lambda path, params: Answer(refusal)
    replay.routes[CHART] = lambda path, params: Answer(INVALID_CRUMB, 401)
    assert len(said(fetch_funds(store, replay, "SPY"))) == 1
    assert {params.get("crumb") for params in replay.asked_of(CHART)} == {None}


def test_large_coins_wait_for_their_volume_where_the_crumb_is_refused(
    store: Store, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay.routes[CHART] = lambda path, params: Answer(INVALID_CRUMB, 401)
    report = fetch_live(store, replay, monkeypatch)
    assert any("wait for their volume" in line for line in report.warnings)
    assert "bitcoin" not in panel(store, "coin", "close")


# Gone


def test_a_fund_that_ended_is_looked_for_once_a_month(
    store: Store, replay: Replay, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = market.bars["SPY"]
    monkeypatch.setitem(market.bars, "SPY", bars[bars.index < "2024-11-01"])
    fetch_funds(store, replay, "SPY")
    replay.routes[f"{CHART}SPY"] = lambda path, params: Answer(NO_TICKER, 404)
    asked = []
    for days in (1, 2, 20, 32, 33):
        replay.asked.clear()
        lines = said(fetch_funds(store, replay, "SPY", today=TODAY + pd.Timedelta(days=days)))
        asked.append((len(replay.asked_of(CHART)), len(lines)))
    assert asked == [(1, 1), (0, 0), (0, 0), (1, 1), (0, 0)]


# The dollar index


@pytest.mark.parametrize(("moment", "last"), [("2024-12-19 02:00", "2024-12-17"), ("2024-12-19 06:00", "2024-12-18")])
def test_a_day_of_the_dollar_index_is_over_by_new_yorks_clock(store: Store, replay: Replay, moment: str, last: str) -> None:
    fetch_funds(store, replay, "DX-Y.NYB", "SPY", today=pd.Timestamp(moment))
    assert panel(store, "fund", "close", LATER)["DX-Y.NYB"].last_valid_index() == pd.Timestamp(last)
    assert panel(store, "fund", "close", LATER)["SPY"].last_valid_index() == pd.Timestamp("2024-12-18")


# Lost sessions


def test_a_session_that_yahoo_lost_is_told_once_and_asked_for_until_it_comes(
    store: Store, replay: Replay, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, lost = market.bars["SPY"], pd.Timestamp("2024-12-04")
    monkeypatch.setitem(market.bars, "SPY", whole[whole.index != lost])
    tickers = ("SPY", "IWM", "^RUT")
    fetch_funds(store, replay, *tickers, today=pd.Timestamp("2024-12-20 07:00"))
    told = []
    for day in ("2024-12-23", "2024-12-24"):
        replay.asked.clear()
        told.append(
            [line for line in said(fetch_funds(store, replay, *tickers, today=pd.Timestamp(f"{day} 07:00"))) if "bar of" in line]
        )
        starts = {path.rpartition("/")[2]: pd.Timestamp(int(params["period1"]), unit="s") for path, params in replay.asked}
        assert starts["SPY"] < lost < starts["IWM"]
    assert told == [["funds: Yahoo sent no bar of 2024-12-04 for 1 tickers (SPY); it is asked for again."], []]
    monkeypatch.setitem(market.bars, "SPY", whole)
    fetch_funds(store, replay, *tickers)
    rows = store.read(replace(SPY, field="close"), LATER).set_index("observed")
    assert rows.known[lost] == TODAY.normalize() - pd.Timedelta(days=1)
    assert len(rows) == len(whole) - 1


def test_a_price_that_stands_still_is_told_once_and_one_that_moves_never(store: Store, replay: Replay, market: Market) -> None:
    whole = market.bars["IWM"]
    prices = ["open", "high", "low", "close", "adj_close"]
    stuck = whole.assign(**{name: whole[name].mask(whole.index >= "2024-12-16", whole["close"]["2024-12-16"]) for name in prices})
    market.bars["IWM"] = stuck.assign(volume=whole["volume"].mask(whole.index > "2024-12-16", 0))
    fetch_funds(store, replay, "IWM", "SPY", today=pd.Timestamp("2024-12-19"))
    assert said(fetch_funds(store, replay, "IWM", "SPY", today=pd.Timestamp("2024-12-20"))) == [], "four sessions may be"
    (line,) = said(fetch_funds(store, replay, "IWM", "SPY", today=TODAY))
    assert line.startswith("IWM: stands still at ")
    assert " since 2024-12-16, without a trade" in line
    market.bars["IWM"] = pd.concat([market.bars["IWM"], market.bars["IWM"].tail(1).set_axis([TODAY.normalize()])])
    assert said(fetch_funds(store, replay, "IWM", "SPY", today=TODAY + pd.Timedelta(days=1))) == []


def test_a_session_that_nearly_all_tickers_lack_is_found_by_the_two_that_have_it() -> None:
    days = pd.date_range("2024-12-02", "2024-12-06")
    closes = pd.DataFrame(1.0, days, [*TICKERS, "SPY", "^RUT", "DX-Y.NYB"])
    closes.loc["2024-12-04", list(TICKERS)] = float("nan")
    closes.loc["2024-12-05", [*TICKERS, "SPY", "^RUT"]] = float("nan")  # closed: only the dollar trades
    asked = [TickerRequest(ticker, ticker) for ticker in closes.columns]
    assert {str(day) for days in lost_sessions(closes, asked).values() for day in days.index} == {"2024-12-04 00:00:00"}
    assert set(lost_sessions(closes, asked)) == set(TICKERS)
