"""What comes late is known from the day before it came: a score of the past doesn't move."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from live_home import LATER, fetch_live, read_by_the_user
from replay import Market, Replay, serving
from wide_market import declare_few

from sources.anomalies import late_arrivals
from sources.series import FED_ASSETS, FUND_CLOSE, HY_SPREAD, SPY
from sources.simulated import simulate
from sources.store import Store

SINCE = pd.Timestamp("2024-10-01")
LOST = pd.Timestamp("2024-12-18")
CLOSE = replace(SPY, field="close")


def at(day: str) -> pd.Timestamp:
    return pd.Timestamp(f"{day} 07:00")


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    return simulate(start="2020-01-01", end="2024-12-31", stocks=1, coins=5)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    declare_few(monkeypatch, "SPY", "IWM", series=(FED_ASSETS, HY_SPREAD))


@pytest.fixture
def replay(frames: dict[str, pd.DataFrame]) -> Iterator[Replay]:
    with serving({}) as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home" / "store.duckdb") as opened:
        yield opened


def tomorrow(replay: Replay, frames: dict[str, pd.DataFrame], day: str, *lost: str) -> None:
    """It is `day`, and Yahoo has lost the bars of `LOST` of some tickers."""
    prices = frames["prices"]
    kept = prices[~(prices.ticker.isin(lost) & (prices.date == LOST))]
    replay.routes = Market(frames | {"prices": kept}, SINCE, pd.Timestamp(day)).routes()


def test_a_bar_that_comes_late_is_known_from_the_day_before_it_came(
    store: Store, replay: Replay, frames: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in ("2024-12-18", "2024-12-19", "2024-12-20"):
        tomorrow(replay, frames, day, "SPY", "IWM")
        fetch_live(store, replay, monkeypatch, today=at(day))
    before = {day: store.snapshot(day) for day in pd.date_range("2024-12-16", "2024-12-19")}
    tomorrow(replay, frames, "2024-12-21")
    report = fetch_live(store, replay, monkeypatch, today=at("2024-12-21"))
    assert {day: store.snapshot(day) for day in before} == before
    rows = store.read(CLOSE, LATER).set_index("observed")
    assert rows.known[LOST] == pd.Timestamp("2024-12-20")
    assert rows.known["2024-12-19"] == pd.Timestamp("2024-12-19")
    came = "IWM, SPY: 1 day (2024-12-18) came late from yahoo, on 2024-12-21"
    told = f"{came}; known from 2024-12-20 on, so scores of earlier days stay."
    assert told in read_by_the_user(report)
    assert [late.codes for late in late_arrivals(store, SINCE)] == [["IWM", "SPY"]]


def test_what_came_late_stays_out_of_panels_that_are_dated_by_the_release_lag(
    store: Store, replay: Replay, frames: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    for day, lost in (("2024-12-18", ()), ("2024-12-19", ("SPY",)), ("2024-12-20", ("SPY",)), ("2024-12-21", ())):
        tomorrow(replay, frames, day, *lost)
        fetch_live(store, replay, monkeypatch, today=at(day))
    panel = replace(FUND_CLOSE, symbols=("SPY", "IWM"))
    assert store.read_panel(panel, LATER).loc[LOST].notna().all()
    on_time = store.read_panel(panel, LATER, on_time=True)
    assert pd.isna(on_time.loc[LOST, "SPY"])
    pd.testing.assert_frame_equal(
        on_time[:LOST], store.read_panel(panel, pd.Timestamp("2024-12-18"), on_time=True).reindex(on_time[:LOST].index)
    )


def test_days_nobody_asked_for_in_between_are_on_time(
    store: Store, replay: Replay, frames: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in ("2024-12-10", "2024-12-21"):
        tomorrow(replay, frames, day)
        fetch_live(store, replay, monkeypatch, today=at(day))
    rows = store.read(CLOSE, LATER)
    assert (rows.known == rows.observed).all()
    assert late_arrivals(store, SINCE) == []


def test_a_value_of_fred_that_comes_late_is_known_from_the_day_before_it_came(
    store: Store, replay: Replay, frames: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = frames["fred"]
    held = whole[(whole.series != "WALCL") | (whole.date != "2024-12-11")]
    for day, fred in (("2024-12-13", held), ("2024-12-19", held), ("2024-12-21", whole)):
        replay.routes = Market(frames | {"fred": fred}, SINCE, pd.Timestamp(day)).routes()
        fetch_live(store, replay, monkeypatch, today=at(day))
    rows = store.read(FED_ASSETS, LATER).set_index("observed")
    assert rows.known["2024-12-11"] == pd.Timestamp("2024-12-20")


def test_a_home_filled_before_keeps_its_past_and_says_so(
    store: Store, replay: Replay, frames: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "_last_fetch_day", lambda self, batch, fetched_at: pd.Timestamp.min.date())
    for day, lost in (("2024-12-18", ()), ("2024-12-19", ("SPY",)), ("2024-12-20", ("SPY",)), ("2024-12-21", ())):
        tomorrow(replay, frames, day, *lost)
        fetch_live(store, replay, monkeypatch, today=at(day))
    (late,) = late_arrivals(store, SINCE)
    assert not late.dated_late
    assert store.read(CLOSE, LATER).set_index("observed").known[LOST] == LOST
    assert late.words.endswith("an older version stored this as known on time, and it stays so.")
