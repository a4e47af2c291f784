"""The real clients fetch a market as wide as the real one, day after day; what is odd about an answer is told and not stored."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from live_home import LATER, QUICK, fetch_fred, fetch_live, panel, read_by_the_user, said
from replay import NO_TICKER, Answer, Market, Params, Replay, chart_body, serving
from wide_market import COINS, FRED_SERIES, FUNDS, KNOWN, LARGE, declare_few, declare_wide, market_of, more_series, wide_frames

from core.progress import silent
from sources import live
from sources.anomalies import another_unit, held_back, is_beyond
from sources.fetch import FetchReport, fetch
from sources.series import FED_ASSETS, HY_SPREAD, SPY
from sources.store import Store

FIRST, NEXT, LATE = "2024-12-27", "2024-12-28", "2025-01-01"
CHART, GRAPH, METRICS = "/v8/finance/chart/", "/graph", "/timeseries"


def at_three(day: str) -> pd.Timestamp:
    return pd.Timestamp(f"{day} 15:00")


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    return wide_frames()


# The whole of it


@dataclass(frozen=True)
class Lived:
    """A fetch interrupted and resumed, and the fetch of the next day."""

    store: Store
    resumed: FetchReport
    later: FetchReport
    asked_before: list[tuple[str, Params]]
    asked_resuming: list[tuple[str, Params]]
    asked_later: list[tuple[str, Params]]


@pytest.fixture(scope="module")
def lived(frames: dict[str, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    """100 funds, 20 series, 150 coins; interrupted among the funds, resumed, and fetched again on the next day."""
    restated = frames["prices"].assign(
        close=lambda rows: rows.close.where((rows.ticker != "SPY") | (rows.date != "2024-12-23"), rows.close * 1.01)
    )

    def stop(label: str, done: int, total: int) -> None:
        if label == "funds" and done == 40:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, Store.open(tmp_path_factory.mktemp("wide") / "store.duckdb") as store:
        declare_wide(patch, frames)
        with serving(market_of(frames, FIRST).routes()) as replay:
            for name in ("FRED", "ALFRED", "COINS", "YAHOO"):
                patch.setenv(f"ALTRALLY_{name}_URL", replay.address)
            patch.setattr(live, "RetryPolicy", lambda: replace(QUICK, timeout=60.0))  # however busy the machine is
            with pytest.raises(KeyboardInterrupt):
                fetch(store, "live", today=at_three(FIRST), progress=stop)
            before = replay.asked[:]
            replay.asked.clear()
            resumed = fetch(store, "live", today=at_three(FIRST), progress=silent)
            resuming = replay.asked[:]
            replay.asked.clear()
            replay.routes = market_of(frames | {"prices": restated}, NEXT).routes()
            later = fetch(store, "live", today=at_three(NEXT), progress=silent)
            yield Lived(store, resumed, later, before, resuming, replay.asked[:])


def asked(requests: list[tuple[str, Params]], start: str) -> dict[str, Params]:
    """What was asked under a path, by the rest of the path and the id or assets."""
    return {
        path.removeprefix(start) + params.get("id", "") + params.get("assets", ""): params
        for path, params in requests
        if path.startswith(start)
    }


def test_everything_served_is_stored_and_nothing_else(lived: Lived, frames: dict[str, pd.DataFrame]) -> None:
    yesterday = pd.Timestamp(FIRST)
    assert not [line for line in read_by_the_user(lived.resumed) if "did not come" in line or "Try again" in line]
    closes = panel(lived.store, "fund", "close", yesterday)
    served = frames["prices"].query("date <= @yesterday").pivot_table(index="date", columns="ticker", values="close")
    assert closes.shape[1] == FUNDS
    np.testing.assert_allclose(closes.to_numpy(), served[closes.columns].to_numpy(), rtol=1e-12)
    assert len(KNOWN) + len(more_series()) == FRED_SERIES
    for series in (*KNOWN, *more_series()):
        assert len(lived.store.read(series, LATER)), series.code
    assert len(lived.store.asset_classes("coin")) == COINS
    assert lived.store.extent(LATER)["last"].max() == pd.Timestamp(FIRST)


def test_every_row_is_known_after_its_lag_and_once(lived: Lived) -> None:
    for series in (*KNOWN, SPY):
        rows = lived.store.read(series, pd.Timestamp(FIRST) + pd.Timedelta(days=5))
        first = rows.drop_duplicates("observed")
        assert (first.known - first.observed == series.release_lag).all()


def test_an_interrupted_fetch_goes_on_where_it_was(lived: Lived) -> None:
    done = {ticker for ticker, params in asked(lived.asked_before, CHART).items()}
    spans = asked(lived.asked_resuming, CHART)
    again = [ticker for ticker, params in spans.items() if int(params["period1"]) > pd.Timestamp("2024-12-01").timestamp()]
    assert again == []
    assert 40 <= FUNDS + len(LARGE) - len(spans) <= len(done) < FUNDS
    assert asked(lived.asked_resuming, GRAPH) == {}


def test_the_next_day_asks_only_for_what_is_new_and_the_overlap(lived: Lived) -> None:
    funds = asked(lived.asked_later, CHART)
    starts = {pd.Timestamp(int(params["period1"]), unit="s").normalize() for params in funds.values()}
    assert starts <= {pd.Timestamp(FIRST) - pd.Timedelta(days=days) for days in (10, 11, 12)}
    assert len(funds) == FUNDS + len(LARGE)
    series = asked(lived.asked_later, GRAPH)
    assert {params["id"] for params in series.values()} == {"RRPONTSYD", "T10Y2Y"}  # the others can't be known yet
    assert {params["cosd"] for params in series.values()} <= {"2024-11-26", "2024-11-27"}
    groups = asked(lived.asked_later, METRICS).values()
    assert {params["start_time"] for params in groups if "end_time" not in params} == {"2024-12-16"}
    assert not [params for params in groups if "end_time" in params]  # who is largest is asked once a week
    assert sum(path.startswith(CHART) for path, _ in lived.asked_later) == len(funds)
    assert sum(path.startswith(GRAPH) for path, _ in lived.asked_later) == len(series)


def test_the_next_day_adds_one_day(lived: Lived) -> None:
    new = {line.label: line.new for line in lived.later.lines}
    assert new["funds"] == FUNDS + 1  # and one bar restated
    assert (new["coins"], new["coin ranges"], new["stablecoin supply"]) == (COINS, len(LARGE), 1)


def test_a_restated_bar_is_caught_by_the_overlap_and_said(lived: Lived, frames: dict[str, pd.DataFrame]) -> None:
    told = [line for line in read_by_the_user(lived.later) if line.startswith("SPY")]
    assert len(told) == 1
    change = "1 day of its past (adj_close, close of 2024-12-23) by up to 1.00%"
    assert told[0] == f"SPY: yahoo rewrote {change}; days before 2024-12-28 keep what they knew."
    day = pd.Timestamp("2024-12-23")
    row = frames["prices"].query("ticker == 'SPY' and date == @day").iloc[0]
    assert panel(lived.store, "fund", "close", pd.Timestamp(FIRST)).loc[day, "SPY"] == pytest.approx(row.close)
    assert panel(lived.store, "fund", "close", pd.Timestamp(NEXT)).loc[day, "SPY"] == pytest.approx(row.close * 1.01)


# Waiting


@dataclass
class Clock:
    """Time that passes only when it is waited for."""

    waited: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


@dataclass
class Small:
    """A store fetched once on `FIRST` from a server that can be told to answer otherwise afterwards."""

    store: Store
    replay: Replay
    market: Market
    frames: dict[str, pd.DataFrame]
    patch: pytest.MonkeyPatch

    def fetch(self, day: str = NEXT, **patience: object) -> list[str]:
        """What the user reads of a fetch on `day`."""
        chosen = replace(QUICK, **patience)  # type: ignore[arg-type]
        return read_by_the_user(fetch_live(self.store, self.replay, self.patch, today=at_three(day), patience=chosen))

    def tomorrow(self, day: str = NEXT, **otherwise: pd.DataFrame) -> None:
        """It is `day` now, and the services say some things `otherwise`."""
        self.market = market_of(self.frames | otherwise, day)
        self.replay.routes = self.market.routes()

    def closes(self, ticker: str, universe: str = "fund") -> pd.Series:
        return panel(self.store, universe, "close")[ticker].dropna()


@pytest.fixture
def small(frames: dict[str, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    """Two funds, two series, a dozen coins."""
    declare_few(monkeypatch, "SPY", "IWM", series=(FED_ASSETS, HY_SPREAD))
    few = ["bitcoin", "ethereum", "coin-003", "coin-004", "simulated-dollar", "simulated-cash"]
    own = frames | {"crypto": frames["crypto"][frames["crypto"].asset.isin(few)]}
    market = market_of(own, FIRST)
    with serving(market.routes()) as replay, Store.open(tmp_path / "store.duckdb") as store:
        made = Small(store, replay, market, own, monkeypatch)
        made.fetch(FIRST)
        made.tomorrow()
        replay.asked.clear()
        yield made


def changed(frame: pd.DataFrame, of: pd.Series, **values: Callable[[pd.Series], pd.Series]) -> pd.DataFrame:
    """`frame` with some columns changed in the rows `of`."""
    return frame.assign(**{name: frame[name].where(~of, change(frame[name])) for name, change in values.items()})


def told(lines: list[str], start: str) -> list[str]:
    return [line for line in lines if line.startswith(start)]


def test_a_wait_that_is_asked_for_is_kept_by_every_client(small: Small) -> None:
    clock = Clock()
    small.replay.first[GRAPH] = [Answer("", 429, {"Retry-After": "7"})]
    small.replay.first[METRICS] = [Answer("", 429, {"Retry-After": "8"})]
    small.replay.first[CHART] = [Answer("Too Many Requests", 429, {"Retry-After": "9"})]
    small.tomorrow(LATE)
    lines = small.fetch(LATE, longest_wait=60.0, first_wait=1.0, sleep=clock.sleep)
    assert {7.0, 8.0, 9.0} <= set(clock.waited)
    assert not told(lines, "SPY") + told(lines, "WALCL") + told(lines, "coins:")


def test_waits_double_and_end(small: Small) -> None:
    clock = Clock()
    small.replay.routes[CHART] = lambda path, params: Answer("", 503)
    lines = small.fetch(attempts=5, first_wait=1.0, longest_wait=5.0, pause=0.0, at_once=1, sleep=clock.sleep)
    waits = [wait for wait in clock.waited if wait][:4]
    assert all(least <= wait <= least + 1 for wait, least in zip(waits, (1, 2, 4, 5), strict=True))
    assert len(small.replay.asked_of(f"{CHART}SPY")) == 5
    said = "SPY: Yahoo gave no bars of SPY: HTTP 503. Try again later. The store keeps its bars up to 2024-12-26."
    assert told(lines, "SPY") == [said]


def test_a_wait_longer_than_our_patience_is_told_and_not_waited_for(small: Small) -> None:
    clock = Clock()
    small.replay.routes[f"{CHART}SPY"] = lambda path, params: Answer("", 429, {"Retry-After": "3600"})
    lines = small.fetch(longest_wait=60.0, sleep=clock.sleep)
    assert "Try again after 3600 s." in told(lines, "SPY")[0]
    assert len(small.replay.asked_of(f"{CHART}SPY")) == 1
    assert max(clock.waited, default=0) < 60


# What a source may do without a word


def test_an_empty_frame_is_said_and_the_store_keeps_its_bars(small: Small) -> None:
    before = small.closes("SPY")
    body = json.loads(chart_body("SPY", small.market.bars["SPY"].iloc[:0]))
    small.replay.routes[f"{CHART}SPY"] = lambda path, params: Answer(json.dumps(body))
    line = told(small.fetch(), "SPY")[0]
    assert "holds no bars" in line or "sent an empty table" in line
    assert line.endswith("The store keeps its bars up to 2024-12-26.")
    pd.testing.assert_series_equal(small.closes("SPY"), before)


def test_a_partial_last_day_is_counted_and_not_stored(small: Small) -> None:
    lines = small.fetch()
    assert "running day" in told(lines, "coins ")[0]
    assert small.closes("coin-003", "coin").index[-1] == pd.Timestamp(FIRST)
    assert small.closes("BTC", "coin_ohlc").index[-1] == pd.Timestamp(FIRST)


def test_a_split_that_is_not_adjusted_is_held_back_until_it_is(small: Small, frames: dict[str, pd.DataFrame]) -> None:
    before = small.closes("SPY")
    halves = dict.fromkeys(("open", "high", "low", "close", "adj_close"), lambda column: column / 2)
    prices = frames["prices"]
    small.tomorrow(prices=changed(prices, (prices.ticker == "SPY") & (prices.date >= FIRST), **halves))
    (line,) = told(small.fetch(), "SPY")
    assert line.startswith("SPY: 1 day from 2024-12-27 on came at 1/2.0")
    assert line.endswith("of the level before: a split that isn't adjusted, or a slip? Not stored; what is stored stays.")
    pd.testing.assert_series_equal(small.closes("SPY"), before)
    small.tomorrow(prices=changed(prices, prices.ticker == "SPY", **halves))
    mended = small.fetch()
    assert "SPY: was split 2-for-1 after it was first stored; bars are kept at the level before that." in mended
    whole = prices.query("ticker == 'SPY' and date <= @FIRST").set_index("date").close
    assert small.closes("SPY").to_numpy() == pytest.approx(whole.to_numpy(), rel=1e-9)


@pytest.mark.parametrize("times", [100.0, 0.01])
def test_a_bar_in_another_unit_is_held_back_and_said(small: Small, frames: dict[str, pd.DataFrame], times: float) -> None:
    before = small.closes("SPY")
    slips = dict.fromkeys(("open", "high", "low", "close", "adj_close"), lambda column: column * times)
    prices = frames["prices"]
    odd = (prices.ticker == "SPY") & prices.date.isin(pd.to_datetime(["2024-12-24", FIRST]))
    small.tomorrow(prices=changed(prices, odd, **slips))
    lines = told(small.fetch(), "SPY")
    size = "100 times" if times > 1 else "1/100 of"
    assert lines == [
        f"SPY: 2 days from 2024-12-24 on came at {size} the level before: another unit? Not stored; what is stored stays."
    ]
    pd.testing.assert_series_equal(small.closes("SPY"), before)


def test_a_whole_answer_in_another_unit_is_brought_to_the_stored_one(small: Small, frames: dict[str, pd.DataFrame]) -> None:
    prices = frames["prices"]
    slips = dict.fromkeys(("open", "high", "low", "close", "adj_close"), lambda column: column * 100)
    small.tomorrow(prices=changed(prices, prices.ticker == "SPY", **slips))
    line = "SPY: now comes at 100 times the stored level: another unit? Bars are kept at the level stored."
    assert told(small.fetch(), "SPY") == [line]
    whole = prices.query("ticker == 'SPY' and date <= @FIRST").set_index("date")
    assert small.closes("SPY").to_numpy() == pytest.approx(whole.close.to_numpy(), rel=1e-9)
    assert panel(small.store, "fund", "volume")["SPY"].to_numpy() == pytest.approx(whole.volume.to_numpy(), rel=1e-9)


def test_a_coin_in_another_unit_is_held_back_and_said(small: Small, frames: dict[str, pd.DataFrame]) -> None:
    coins = small.frames["crypto"]
    odd = (coins.asset == "coin-003") & (coins.date == FIRST)
    small.tomorrow(crypto=changed(coins, odd, price=lambda price: price / 100, market_cap=lambda cap: cap / 100))
    assert "coin-003: 1 day from 2024-12-27 on came at" in told(small.fetch(), "coin-003")[0]
    assert small.closes("coin-003", "coin").index[-1] == pd.Timestamp("2024-12-26")


def redenominated(coins: pd.DataFrame, since: str, **otherwise: Callable[[pd.Series], pd.Series]) -> pd.DataFrame:
    """A thousand of coin-003 become one, on a day."""
    return changed(coins, (coins.asset == "coin-003") & (coins.date >= since), price=lambda price: price * 1000, **otherwise)


def test_a_redenominated_coin_is_said_once_and_kept_in_its_unit(small: Small) -> None:
    coins = small.frames["crypto"]
    said = []
    for day in (NEXT, "2024-12-29", "2024-12-31"):
        small.tomorrow(day, crypto=redenominated(coins, FIRST))
        said += told(small.fetch(day), "coin-003")
    assert said == [
        "coin-003: was redenominated 1,000 to 1 on 2024-12-27, as price and market cap say. "
        "Its prices are kept in the unit before that."
    ]
    whole = coins.query("asset == 'coin-003' and not bad_tick").set_index("date").price
    kept = small.closes("coin-003", "coin")
    assert kept.index[-1] == pd.Timestamp("2024-12-30")
    np.testing.assert_allclose(kept, whole[kept.index], rtol=1e-9)


def test_a_coin_whose_unit_seems_changed_is_held_back_however_long_it_lasts(small: Small, tmp_path: Path) -> None:
    coins = redenominated(small.frames["crypto"], "2024-12-10", market_cap=lambda cap: cap * 0)
    small.tomorrow("2024-12-31", crypto=coins)
    home = tmp_path / "new"
    with Store.open(home / "store.duckdb") as store:
        report = fetch_live(store, small.replay, small.patch, today=at_three("2024-12-31"))
        (line,) = told(read_by_the_user(report), "coin-003")
        assert f"Write the line 2024-12-10,coin-003,RATIO (date,asset,ratio) into {home / 'redenominations.csv'}" in line
        assert panel(store, "coin", "close")["coin-003"].last_valid_index() < pd.Timestamp("2024-12-10")
        (home / "redenominations.csv").write_text("date,asset,ratio\n2024-12-10,coin-003,1000\n")
        again = read_by_the_user(fetch_live(store, small.replay, small.patch, today=at_three("2024-12-31")))
        assert told(again, "coin-003")[0].startswith("coin-003: was redenominated 1,000 to 1 on 2024-12-10")
        close = panel(store, "coin", "close")["coin-003"].dropna()
        assert close.index[-1] == pd.Timestamp("2024-12-30")
        assert close.pct_change().abs().max() < 1


@pytest.mark.parametrize("since", ["2024-01-01", "2024-12-24"])
def test_a_series_in_another_unit_is_held_back_and_said(small: Small, frames: dict[str, pd.DataFrame], since: str) -> None:
    before = small.store.read(FED_ASSETS, LATER)
    rows = frames["fred"]
    odd = (rows.series == "WALCL") & (rows.date >= since)
    small.tomorrow("2024-12-31", fred=changed(rows, odd, value=lambda value: value / 1000))
    line = said(fetch_fred(small.store, small.replay, FED_ASSETS, today=at_three("2024-12-31")))[0]
    assert "the level before: another unit? Not stored; what is stored stays." in line
    pd.testing.assert_frame_equal(small.store.read(FED_ASSETS, LATER), before)


def test_a_delisted_ticker_is_said_and_keeps_its_past(small: Small) -> None:
    before = small.closes("SPY")
    small.replay.routes[f"{CHART}SPY"] = lambda path, params: Answer(NO_TICKER, 404)
    line = "SPY: Yahoo has no such ticker (HTTP 404): it is wrong or gone. The store keeps its bars up to 2024-12-26."
    assert told(small.fetch(), "SPY") == [line]
    assert len(small.replay.asked_of(f"{CHART}SPY")) == 1
    pd.testing.assert_series_equal(small.closes("SPY"), before)


@pytest.mark.parametrize(
    ("name", "column", "code"), [("fred", "series", "BAMLH0A0HYM2"), ("prices", "ticker", "SPY"), ("crypto", "asset", "coin-003")]
)
def test_a_history_shortened_without_a_word_is_said_and_kept(
    small: Small, frames: dict[str, pd.DataFrame], name: str, column: str, code: str
) -> None:
    kept = {"fred": lambda: small.store.read(HY_SPREAD, LATER), "prices": lambda: small.closes("SPY")}
    held = kept.get(name, lambda: small.closes("coin-003", "coin"))
    before = held()
    rows = small.frames[name]
    small.tomorrow(LATE, **{name: rows[(rows[column] != code) | (rows.date >= "2024-12-20")]})
    line = told(small.fetch(LATE), code)[0]
    assert line.startswith(f"{code}: its history was shortened: ")
    assert line.endswith("no longer come. What is stored stays.")
    after = held()
    assert len(after) > len(before)
    assert before.equals(after.iloc[: len(before)])


def test_a_first_fetch_of_three_years_of_a_long_series_is_said(small: Small, tmp_path: Path) -> None:
    with Store.open(tmp_path / "new" / "store.duckdb") as empty:
        report = fetch_live(empty, small.replay, small.patch, today=at_three(NEXT))
    line = "BAMLH0A0HYM2: came from 2024-11-01 only, though its history begins in 1996; the rest stays missing."
    assert line in read_by_the_user(report)


def test_bars_that_no_longer_reach_the_stored_ones_are_said(small: Small, frames: dict[str, pd.DataFrame]) -> None:
    before = small.closes("SPY")
    prices = frames["prices"]
    small.tomorrow(prices=prices[(prices.ticker != "SPY") | (prices.date >= FIRST)])
    assert "Yahoo's bars of SPY don't reach back to 2024-12-26, the last stored day." in told(small.fetch(), "SPY")[0]
    pd.testing.assert_series_equal(small.closes("SPY"), before)


# By hand


def flagged(values: list[float], stored: list[float], **how: object) -> list[int]:
    days = pd.date_range("2024-01-01", periods=len(values) + len(stored))
    fetched = pd.Series(values, days[len(stored) :])
    held = held_back(fetched, pd.Series(stored, days[: len(stored)], dtype="float64"), **how)  # type: ignore[arg-type]
    return [int(place) for place in np.flatnonzero(held.to_numpy())]


def test_what_is_held_back() -> None:
    fund, coin = {"far": is_beyond(1.8), "confirmed": False}, {"far": is_beyond(20.0), "confirmed": True}
    assert flagged([101, 50, 51], [100], **fund) == [1, 2]
    assert flagged([101, 50, 102], [100], **fund) == [1]
    assert flagged([101, 50, 51, 52, 49, 50, 51], [100], **fund) == [1, 2, 3, 4, 5, 6]
    assert flagged([0.01, 0.011, 0.009, 0.01], [100], **coin) == [0, 1, 2, 3]
    assert flagged([0.01, 0.011, 0.009, 0.01, 0.01], [100], **coin) == []
    assert flagged([100, 50, 51, 49], [], **fund) == [0]
    assert flagged([100, 101, 99, 100, 10_000], [], **fund) == [4]
    assert flagged([3.1, 310.0], [3.0], far=another_unit, confirmed=False) == [1]
    assert flagged([3.1, 31.0], [3.0], far=another_unit, confirmed=False) == []
    assert flagged([], [], **fund) == []


@pytest.mark.reference
def test_no_declared_fund_ever_moved_so_far(reference: Path) -> None:
    rows = pd.read_parquet(reference / "prices.parquet", columns=["date", "ticker", "close", "derived"]).query("derived != 1")
    tickers = {asked.ticker for asked in live.yahoo.fund_tickers()}
    nothing = pd.Series(index=pd.DatetimeIndex([]), dtype="float64")
    for ticker, bars in rows[rows.ticker.isin(tickers)].groupby("ticker", observed=True):
        far = is_beyond(20.0 if str(ticker).startswith("^") else 1.8)
        assert not held_back(bars.set_index("date").close.dropna(), nothing, far, confirmed=False).any(), ticker
