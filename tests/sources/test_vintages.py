"""What was known stays known: a later revision changes no old feature and no old score; what is rewritten upstream is listed."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from live_home import LATER, QUICK, TODAY, fetch_fred, fetch_live, read_by_the_user, stored_as_they_come
from replay import Market, Replay, Vintages, serving
from wide_market import declare_few

from altrally import jobs
from altrally.forecast import inputs_known, score
from altrally.issue import champion_of
from core.errors import RevisedWithoutVintages
from core.home import open_home
from core.progress import silent
from features.build import compute, load
from features.registry import Feature
from sources import fred
from sources.anomalies import rewriting_lines, rewritten
from sources.batches import Batch
from sources.http import Site
from sources.series import FED_ASSETS, MONEY_SUPPLY, SPY
from sources.simulated import simulate
from sources.store import Store

KEY = "0123456789abcdef0123456789abcdef"
DAY = pd.Timedelta(days=1)


def growth(money: pd.Series) -> pd.Series:
    """Change of the money supply on the month before, each as first published."""
    return money / money.shift(1) - 1


MONEY_GROWTH = Feature("money_growth", growth, (MONEY_SUPPLY,), "liquidity", 1, "share", "none", None)


def table(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """Vintages as observed, known, value."""
    made = pd.DataFrame(rows, columns=["observed", "known", "value"])
    return made.astype({"observed": "datetime64[us]", "known": "datetime64[us]"})


EARLY = table(
    ("2023-11-01", "2023-12-26", 90.0),
    ("2023-12-01", "2024-01-23", 95.0),
    ("2024-01-01", "2024-02-27", 100.0),
    ("2023-12-01", "2024-02-27", 96.0),
)
LATE = table(
    ("2023-11-01", "2024-03-26", 91.0),
    ("2023-12-01", "2024-03-26", 99.0),
    ("2024-01-01", "2024-03-26", 120.0),
    ("2024-02-01", "2024-03-26", 121.0),
)
OLD_DAYS = pd.date_range("2023-12-20", "2024-03-25", unit="us", name="day")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home" / "store.duckdb") as opened:
        yield opened


def bring_vintages(store: Store, rows: pd.DataFrame, today: pd.Timestamp = TODAY) -> None:
    """What ALFRED's real client makes of these vintages."""
    with serving(Vintages(MONEY_SUPPLY.code, KEY, rows).routes()) as replay:
        site = Site("ALFRED", replay.address, QUICK, KEY)
        stored_as_they_come(store, fred.all_vintages(store, [MONEY_SUPPLY], site, today, silent), today)


def feature_on(store: Store, days: pd.DatetimeIndex) -> pd.DataFrame:
    return compute([MONEY_GROWTH], load(store, [MONEY_GROWTH], days[-1], days[0]), days)


# Old days


def test_a_later_vintage_changes_no_feature_of_an_old_day(store: Store) -> None:
    bring_vintages(store, EARLY)
    before, snapshot = feature_on(store, OLD_DAYS), store.snapshot(OLD_DAYS[-1])
    assert before["money_growth"].iloc[-1] == pytest.approx(100 / 95 - 1)
    bring_vintages(store, pd.concat([EARLY, LATE]))
    pd.testing.assert_frame_equal(feature_on(store, OLD_DAYS), before, check_exact=True)
    assert store.snapshot(OLD_DAYS[-1]) == snapshot
    new_days = OLD_DAYS[-5:].union(pd.DatetimeIndex(["2024-03-26"]).as_unit("us")).rename("day")
    assert feature_on(store, new_days)["money_growth"].iloc[-1] == pytest.approx(121 / 100 - 1)


def test_a_vintage_rewritten_under_its_old_day_is_known_from_today_on_and_stored_once(store: Store) -> None:
    bring_vintages(store, EARLY)
    before = feature_on(store, OLD_DAYS)
    forged = EARLY.assign(value=EARLY.value.where(EARLY.value != 100.0, 200.0))
    for _ in range(2):
        bring_vintages(store, forged)
    pd.testing.assert_frame_equal(feature_on(store, OLD_DAYS), before, check_exact=True)
    rows = store.read(MONEY_SUPPLY, LATER)
    versions = rows[rows.observed == "2024-01-01"]
    assert list(versions.value) == [100.0, 200.0]
    assert list(versions.known) == [pd.Timestamp("2024-02-27"), TODAY.normalize()]


def test_a_later_revision_changes_no_old_score_by_a_bit(trained_home: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_home, tmp_path / "home")
    home, day = open_home(tmp_path / "home", None), pd.Timestamp("2024-03-20")
    champion = champion_of(home)
    with Store.open(home.store) as opened:
        bring_vintages(opened, EARLY)
        before = json.dumps(score(inputs_known(opened, day), champion).to_dict())
        bring_vintages(opened, pd.concat([EARLY, LATE]))
        restate(opened, SPY.code, since=pd.Timestamp("2024-01-01"), until=day)
        assert len(opened.read(MONEY_SUPPLY, LATER)) == len(EARLY) + len(LATE)
        assert {one.code for one in rewritten(opened, day)} == {MONEY_SUPPLY.code, SPY.code}
        assert json.dumps(score(inputs_known(opened, day), champion).to_dict()) == before
        assert inputs_known(opened, pd.Timestamp("2024-12-30")).snapshot != json.loads(before)["snapshot"]


def restate(store: Store, symbol: str, since: pd.Timestamp, until: pd.Timestamp) -> None:
    """Yahoo corrects every close of a fund by a tenth, known from `TODAY` on."""
    rows = store.read(replace(SPY, field="close", code=symbol), until, since)
    frame = rows.assign(symbol=symbol, close=rows["value"] * 1.1)
    store.append(Batch("funds", "bars", frame.drop(columns="value"), "yahoo", "fund"), TODAY)


# Without a key


def test_without_a_key_revised_series_are_refused_with_the_reason(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    declare_few(monkeypatch, "SPY", series=(FED_ASSETS, MONEY_SUPPLY))
    with serving(Market(simulate(start="2020-01-01", stocks=1, coins=3), TODAY - 60 * DAY, TODAY.normalize()).routes()) as replay:
        lines = read_by_the_user(fetch_live(store, replay, monkeypatch, key=""))
        assert not replay.asked_of("/fred/")
    said = "M2SL: is revised after the fact; its vintages need a free key in FRED_API_KEY. Nothing of it was stored."
    assert said in lines
    assert store.read(MONEY_SUPPLY, LATER).empty
    with pytest.raises(RevisedWithoutVintages, match=r"M2SL is revised after its release .* with a free key in FRED_API_KEY"):
        feature_on(store, OLD_DAYS)


# What was rewritten upstream


@pytest.fixture
def server() -> Iterator[tuple[Market, Replay]]:
    market = Market(simulate(start="2020-01-01", stocks=1, coins=3), TODAY - 60 * DAY, TODAY.normalize())
    with serving(market.routes()) as replay:
        yield market, replay


def test_a_rewritten_past_is_listed_by_series_day_and_size(store: Store, server: tuple[Market, Replay]) -> None:
    market, replay = server
    fetch_fred(store, replay, FED_ASSETS)
    assert rewritten(store, TODAY - 365 * DAY) == []
    rows = market.frames["fred"]
    touched = (rows.series == "WALCL") & (rows.date >= "2024-12-10")
    market.frames["fred"] = rows.assign(value=rows.value.where(~touched, rows.value * 1.02))
    fetch_fred(store, replay, FED_ASSETS, today=TODAY + DAY)
    (found,) = rewritten(store, TODAY)
    days = sorted(rows.date[touched & (rows.date < TODAY.normalize())])
    assert (found.code, found.source, found.fields, found.revision) == ("WALCL", "fred", "value", False)
    assert (found.known, found.first, found.last, found.days) == (TODAY.normalize() + DAY, days[0], days[-1], len(days))
    assert found.largest == pytest.approx(0.02, abs=1e-4)
    span = f"{days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}"
    kept = "days before 2025-01-01 keep what they knew"
    assert rewriting_lines([found]) == [
        f"WALCL: fred rewrote {len(days)} days of its past (value of {span}) by up to 2.00%; {kept}."
    ]
    assert rewritten(store, TODAY + 2 * DAY) == []


def test_what_came_late_or_the_same_is_no_rewriting(store: Store) -> None:
    days = pd.date_range("2024-12-01", periods=3)
    frame = pd.DataFrame({"symbol": "SPY", "observed": days, "known": days, "close": [1.0, 2.0, 3.0], "volume": [1.0, None, 1.0]})
    store.append(Batch("funds", "bars", frame, "yahoo", "fund"), TODAY)
    store.append(Batch("funds", "bars", frame.assign(volume=1.0), "yahoo", "fund"), TODAY + DAY)
    assert rewritten(store, TODAY) == []
    store.append(Batch("funds", "bars", frame.assign(close=[1.0, 4.0, None]), "yahoo", "fund"), TODAY + 2 * DAY)
    (found,) = rewritten(store, TODAY)
    assert (found.fields, found.days, found.largest) == ("close, volume", 2, 1.0)


def test_many_rewritings_are_told_in_few_lines(store: Store) -> None:
    days = pd.date_range("2024-12-01", periods=2)
    names = [f"F{number:02}" for number in range(14)]
    frame = pd.DataFrame(
        [(name, day, day, 1.0) for name in names for day in days], columns=["symbol", "observed", "known", "close"]
    )
    store.append(Batch("funds", "bars", frame, "yahoo", "fund"), TODAY)
    store.append(Batch("funds", "bars", frame.assign(close=3.0), "yahoo", "fund"), TODAY + DAY)
    lines = rewriting_lines(rewritten(store, TODAY))
    assert len(lines) == 11
    assert "by up to 200.00%" in lines[0]
    assert lines[-1] == "4 more were rewritten; `altrally status --json` lists them."


def test_status_lists_what_was_rewritten(
    simulated_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(simulated_home / "store.duckdb", tmp_path)
    home = open_home(tmp_path, None)
    monkeypatch.setenv("COLUMNS", "200")
    jobs.status(home, as_json=False)
    assert "No source rewrote its past within 365 days." in capsys.readouterr().out
    with Store.open(home.store) as opened:
        bring_vintages(opened, pd.concat([EARLY, LATE]))
        restate(opened, SPY.code, since=pd.Timestamp("2024-11-01"), until=pd.Timestamp("2024-11-08"))
    jobs.status(home, as_json=True)
    listed = {(one["code"], one["known"]): one for one in json.loads(capsys.readouterr().out)["rewritten"]}
    assert listed[("SPY", "2024-12-31")]["largest"] == pytest.approx(0.1)
    assert listed[("SPY", "2024-12-31")]["first"] == "2024-11-01"
    assert listed[("M2SL", "2024-03-26")]["revision"]
    jobs.status(home, as_json=False)
    page = capsys.readouterr().out
    assert "a published revision" in page
    assert "10.00%" in page
