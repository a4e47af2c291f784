"""Outcomes resolve once they are known and stay; the running scores count each day once, and worked by hand."""

from collections.abc import Iterator
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from issued import came, made_score, put

from altrally.columns import show
from altrally.home_pages import ledger_page
from altrally.ledger import Ledger
from altrally.track_record import (
    LEAST_WINDOWS,
    count_non_overlapping,
    forecasts,
    horizon_scores,
    records,
    resolve,
    track_record_summary,
)
from features.altcoin_index import load_index
from sources.store import Store

UNTIL, NOW = pd.Timestamp("2024-12-30"), pd.Timestamp("2024-12-31 06:00")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


def of_horizon(ledger: Ledger, days: int, record: str = "live") -> dict[str, object]:
    """The running scores of one horizon."""
    (row,) = (row for row in records(forecasts(ledger.lines()), UNTIL) if (row["record"], row["horizon"]) == (record, days))
    return row


def lived(ledger: Ledger, days: int, probabilities: np.ndarray, events: np.ndarray, base_rate: float) -> None:
    """A live forecast a day from 2022-01-01 on, and what came of each."""
    as_of = [f"{day:%Y-%m-%d}" for day in pd.date_range("2022-01-01", periods=len(events))]
    for day, p in zip(as_of, probabilities, strict=True):
        put(ledger, made_score(day, p, p, p, base_rate=base_rate))
    ledger.append_outcomes([came(day, days, int(event)) for day, event in zip(as_of, events, strict=True)], NOW)


def test_outcomes_are_what_the_index_did_and_only_those_known(ledger: Ledger, simulated_home: Path) -> None:
    days = [f"{day:%Y-%m-%d}" for day in pd.date_range("2024-06-02", "2024-12-20", freq="17D")]
    for day in days:
        put(ledger, made_score(day, market="simulated"))
    with Store.open(simulated_home / "store.duckdb", read_only=True) as store:
        level = load_index(store, UNTIL).level
        assert resolve(ledger, store, until=UNTIL, now=NOW).new > len(days)
        assert resolve(ledger, store, until=UNTIL, now=NOW).new == 0
    table = forecasts(ledger.lines())
    for row in table.itertuples():
        over = row.as_of + pd.Timedelta(days=row.horizon + 1) <= UNTIL
        window = [level[row.as_of + pd.Timedelta(days=step)] for step in range(1, row.horizon + 1)] if over else []
        expected = float(max(window) >= 1.3 * level[row.as_of]) if over else np.nan
        np.testing.assert_equal(row.event, expected)
    assert set(table["event"].dropna()) == {0.0, 1.0}
    assert ledger.verify().lines == len(days) + table["event"].notna().sum()


def test_lines_before_the_first_open_forecast_need_no_second_look(ledger: Ledger, simulated_home: Path) -> None:
    early, late = (pd.Timestamp(day) for day in ("2024-08-15", "2024-10-15"))
    for day in ("2024-06-02", "2024-06-19", "2024-07-06", "2024-09-10"):
        put(ledger, made_score(day, market="simulated"))
    with Store.open(simulated_home / "store.duckdb", read_only=True) as store:
        first = resolve(ledger, store, until=early, now=NOW)
        assert (first.new > 0, first.open_from) == (True, 1)
        second = resolve(ledger, store, until=late, now=NOW, since=first.open_from)
        waiting = resolve(ledger, store, until=late, now=NOW, since=second.open_from)
        assert 1 < waiting.open_from == min(row.line for row in forecasts(ledger.lines()).itertuples() if np.isnan(row.event))
        assert resolve(ledger, store, until=UNTIL, now=NOW, since=waiting.open_from).new > 0
        assert resolve(ledger, store, until=UNTIL, now=NOW) == (0, ledger.head().lines + 1)


def test_a_day_told_before_and_forecast_again_is_not_looked_at_for_ever(ledger: Ledger, simulated_home: Path) -> None:
    put(ledger, made_score("2024-06-02", market="simulated"))
    with Store.open(simulated_home / "store.duckdb", read_only=True) as store:
        settled = resolve(ledger, store, until=UNTIL, now=NOW).open_from
        settled = resolve(ledger, store, until=UNTIL, now=NOW, since=settled).open_from
        put(ledger, made_score("2024-06-02", market="simulated", snapshot="of a later model"))
        assert resolve(ledger, store, until=UNTIL, now=NOW, since=settled) == (0, ledger.head().lines + 1)


def test_forecasts_of_another_market_are_not_told_by_this_ones_index(ledger: Ledger, simulated_home: Path) -> None:
    put(ledger, made_score("2024-06-02", market="live"))
    with Store.open(simulated_home / "store.duckdb", read_only=True) as store:
        assert resolve(ledger, store, until=UNTIL, now=NOW) == (0, 2)


def test_a_day_without_an_index_stays_open_and_is_counted(ledger: Ledger, simulated_home: Path) -> None:
    put(ledger, made_score("2005-01-01", market="simulated"))
    with Store.open(simulated_home / "store.duckdb", read_only=True) as store:
        assert resolve(ledger, store, until=UNTIL, now=NOW).new == 0
    assert [row["overdue"] for row in records(forecasts(ledger.lines()), UNTIL)] == [1, 1, 1]


def test_what_the_data_say_later_changes_nothing(ledger: Ledger) -> None:
    put(ledger, made_score("2024-03-01"))
    ledger.append_outcomes([came("2024-03-01", 30, 1)], NOW)
    ledger.append_outcomes([came("2024-03-01", 30, 0)], NOW)
    events = forecasts(ledger.lines()).set_index("horizon")["event"]
    assert events[30] == 1
    assert events[[60, 90]].isna().all()


def test_scores_worked_by_hand(ledger: Ledger) -> None:
    lived(ledger, 60, np.array([0.2, 0.6, 0.9]), np.array([0, 1, 1]), base_rate=0.5)
    row = of_horizon(ledger, 60)
    assert (row["n"], row["pending"], row["windows"]) == (3, 0, 1)
    assert row["brier"] == pytest.approx((0.04 + 0.16 + 0.01) / 3)
    assert row["base_rate_brier"] == pytest.approx(0.25)
    assert row["log_score"] == pytest.approx(-(log(0.8) + log(0.6) + log(0.9)) / 3)
    assert row["event_rate"] == pytest.approx(2 / 3)
    assert row["skill_base_rate"] == {"value": None, "low": None, "high": None}
    assert str(row["note"]).startswith("n too small: 1 of 12")
    assert row["reliability"] == [
        {"low": 0.2, "probability": 0.2, "share": 0.0, "count": 1},
        {"low": 0.6, "probability": 0.6, "share": 1.0, "count": 1},
        {"low": 0.9, "probability": 0.9, "share": 1.0, "count": 1},
    ]
    assert of_horizon(ledger, 30)["pending"] == 3
    assert of_horizon(ledger, 30)["brier"] is None


def test_of_a_day_only_the_first_forecast_counts_and_backtests_are_told_apart(ledger: Ledger) -> None:
    put(ledger, made_score("2024-03-01", 0.2, 0.2, 0.2))
    put(ledger, made_score("2024-03-01", 0.9, 0.9, 0.9, snapshot="later"))
    put(ledger, made_score("2024-03-01", 0.95, 0.95, 0.95), days_later=300)
    put(ledger, made_score("2024-03-01", 0.99, 0.99, 0.99, in_sample=True))
    ledger.append_outcomes([came("2024-03-01", 30, 1)], NOW)
    assert of_horizon(ledger, 30)["brier"] == pytest.approx(0.8**2)
    assert of_horizon(ledger, 30, "backtest")["brier"] == pytest.approx(0.05**2)
    facts = track_record_summary(ledger, "files", UNTIL)
    assert facts["forecasts"] == {"live": 1, "backtest": 1, "in_sample": 1, "repeated": 1}
    assert (facts["lines"], facts["outcomes"]) == (5, 1)
    assert {row["record"] for row in facts["records"]} == {"live", "backtest"}


def test_windows_are_forecasts_a_whole_horizon_apart() -> None:
    assert count_non_overlapping(pd.date_range("2024-01-01", periods=61), 30) == 3
    assert count_non_overlapping(pd.date_range("2024-01-01", periods=60), 30) == 2
    assert count_non_overlapping(pd.DatetimeIndex(["2024-01-01", "2024-03-01", "2024-03-02"]), 30) == 2
    assert count_non_overlapping(pd.DatetimeIndex([]), 30) == 0


def resolved(probability: np.ndarray, events: np.ndarray) -> dict[str, Any]:
    """Running scores of a resolved 30-day forecast a day, base rate 0.4."""
    as_of = pd.date_range("2022-01-01", periods=len(events))
    rows = {"as_of": as_of, "horizon": 30, "probability": probability, "base_rate": 0.4, "event": events.astype(float)}
    return horizon_scores(pd.DataFrame(rows), 30, UNTIL)


@pytest.mark.parametrize(("forecast", "value"), [("base", 0.0), ("perfect", 1.0)])
def test_skill_of_the_base_rate_is_nought_and_of_a_seer_one(forecast: str, value: float) -> None:
    events = (np.arange(LEAST_WINDOWS * 30) // 45) % 2
    row = resolved(np.full(len(events), 0.4) if forecast == "base" else events.astype(float), events)
    assert (row["windows"], row["note"]) == (LEAST_WINDOWS, None)
    assert row["skill_base_rate"] == {"value": value, "low": value, "high": value}


def test_the_interval_is_wide_and_holds_the_value() -> None:
    rng = np.random.default_rng(5)
    events = (rng.random(LEAST_WINDOWS) < 0.4).repeat(30).astype(int)
    skill = resolved(np.clip(0.4 + 0.2 * (events - 0.4) + 0.1 * rng.normal(size=len(events)), 0.01, 0.99), events)[
        "skill_base_rate"
    ]
    assert skill["low"] < skill["value"] < skill["high"]
    assert skill["high"] - skill["low"] > 0.1


def test_an_empty_ledger_has_an_empty_record(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    facts = track_record_summary(ledger, "files", UNTIL) | {"market": "simulated", "resolved_now": 0}
    assert (facts["lines"], facts["records"]) == (0, [])
    show(ledger_page(facts))
    assert "Simulated market" in capsys.readouterr().out
