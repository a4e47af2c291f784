"""Live evidence: registered once, counted from then on, over weeks that don't overlap, and never by looking back."""

from collections.abc import Iterator
from dataclasses import replace
from math import log
from pathlib import Path

import pandas as pd
import pytest
from issued import came, made_score, put

from altrally.forecast import Edge
from altrally.ledger import OUTCOME, REGISTRATION, WEEK, Ledger
from altrally.live_evidence import (
    Registration,
    evidence_by_configuration,
    lead,
    live_rows,
    record_weeks,
    register,
)
from core.target import ALTCOINS
from evaluation.evidence import brier_factor, tilt_factor
from features.altcoin_index import load_index
from sources.store import Store

UNTIL, NOW = pd.Timestamp("2024-12-30"), pd.Timestamp("2024-12-31 06:00")
MARKET = "simulated"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


@pytest.fixture
def store(simulated_home: Path) -> Iterator[Store]:
    with Store.open(simulated_home / "store.duckdb", read_only=True) as opened:
        yield opened


def issue(ledger: Ledger, day: str, *, tilt: float = 0.02, configuration: str = "pool-1", days_later: float = 1.25) -> None:
    """A forecast of a day with its edge, live unless it comes late."""
    score = replace(made_score(day, market=MARKET), edge=Edge(tilt, 0.04), configuration=configuration)
    put(ledger, score, days_later=days_later)


def registered(ledger: Ledger, day: str, configuration: str = "pool-1") -> None:
    register(ledger, Registration(configuration, "pool", pd.Timestamp(day)), MARKET, ALTCOINS, NOW)


def shadow(ledger: Ledger, day: str, **probabilities: float) -> None:
    """What other models say of a day, the same for every horizon."""
    about = {"as_of": day, "market": MARKET, "outcome": {"kind": "first_passage", "threshold": 0.3}, "snapshot": "0" * 16}
    models = [
        {"name": name, "version": "1", "configuration": f"{name}-1", "probabilities": [p] * 3, "edge": None}
        for name, p in probabilities.items()
    ]
    issued_at = pd.Timestamp(day) + pd.Timedelta(days=1.25)
    ledger.append_shadows({**about, "horizons": [30, 60, 90], "models": models}, issued_at)


def test_a_configuration_is_registered_once(ledger: Ledger) -> None:
    registered(ledger, "2024-03-03")
    registered(ledger, "2024-03-10")
    registered(ledger, "2024-03-10", "another")
    assert [(line.body["configuration"], line.body["as_of"]) for line in ledger.of_kinds(REGISTRATION)] == [
        ("pool-1", "2024-03-03"),
        ("another", "2024-03-10"),
    ]


def test_weeks_are_bet_on_as_issued_and_multiply(ledger: Ledger, store: Store) -> None:
    """Daily forecasts of four weeks: of them those count whose weeks follow one on the other."""
    registered(ledger, "2024-03-03")
    for day in pd.date_range("2024-03-03", periods=28):
        issue(ledger, f"{day:%Y-%m-%d}", tilt=0.01 + 0.001 * day.day)
    assert record_weeks(ledger, store, ALTCOINS, until=UNTIL, now=NOW) == 4
    level = load_index(store, UNTIL).level
    expected = 1.0
    for start in pd.date_range("2024-03-04", periods=4, freq="7D"):  # the close after the forecast's day
        move = log(level[start + pd.Timedelta(days=7)] / level[start])
        expected *= tilt_factor(0.01 + 0.001 * (start - pd.Timedelta(days=1)).day, 0.04, move)
    found = evidence_by_configuration(ledger, MARKET)["pool-1"]
    assert (found.registered, found.weeks) == ("2024-03-03", 4)
    assert found.e_value == pytest.approx(expected)
    assert record_weeks(ledger, store, ALTCOINS, until=UNTIL, now=NOW) == 0


def test_a_week_counts_only_once_it_is_known(ledger: Ledger, store: Store) -> None:
    registered(ledger, "2024-03-03")
    issue(ledger, "2024-03-03")
    known = pd.Timestamp("2024-03-04") + pd.Timedelta(days=7 + 1)
    assert record_weeks(ledger, store, ALTCOINS, until=known - pd.Timedelta(days=1), now=NOW) == 0
    assert record_weeks(ledger, store, ALTCOINS, until=known, now=NOW) == 1


def test_a_late_forecast_bets_on_no_day_it_could_have_seen(ledger: Ledger, store: Store) -> None:
    registered(ledger, "2024-03-03")
    issue(ledger, "2024-03-03", days_later=3.5)  # issued on the 6th: its close comes later
    record_weeks(ledger, store, ALTCOINS, until=UNTIL, now=NOW)
    (week,) = ledger.of_kinds(WEEK)
    assert (week.body["as_of"], week.body["end"]) == ("2024-03-06", "2024-03-13")


def test_what_was_issued_before_the_registration_or_as_a_backtest_or_a_question_counts_nothing(
    ledger: Ledger, store: Store
) -> None:
    issue(ledger, "2024-02-04")
    registered(ledger, "2024-03-03")
    issue(ledger, "2024-03-03", days_later=60)
    asked = replace(made_score("2024-03-05", market=MARKET), edge=Edge(0.02, 0.04), configuration="pool-1", question=True)
    put(ledger, asked)
    assert record_weeks(ledger, store, ALTCOINS, until=UNTIL, now=NOW) == 0
    assert evidence_by_configuration(ledger, MARKET)["pool-1"].e_value == 1.0
    assert ledger.forecast_of(pd.Timestamp("2024-03-05")) is None, "a question is no forecast of the day"


def test_another_configuration_begins_anew_and_another_market_is_apart(ledger: Ledger, store: Store) -> None:
    registered(ledger, "2024-03-03")
    issue(ledger, "2024-03-03")
    registered(ledger, "2024-04-07", "pool-2")
    issue(ledger, "2024-04-07", configuration="pool-2", tilt=0.05)
    record_weeks(ledger, store, ALTCOINS, until=UNTIL, now=NOW)
    found = evidence_by_configuration(ledger, MARKET)
    assert {name: one.weeks for name, one in found.items()} == {"pool-1": 1, "pool-2": 1}
    assert found["pool-1"].e_value != found["pool-2"].e_value
    assert evidence_by_configuration(ledger, "live") == {}


def test_shadows_are_kept_once_a_day_and_set_beside_the_champion(ledger: Ledger) -> None:
    registered(ledger, "2022-01-02")
    days = [f"{day:%Y-%m-%d}" for day in pd.date_range("2022-01-02", periods=3, freq="60D")]
    for day, event in zip(days, (1, 0, 1), strict=True):
        issue(ledger, day)  # 0.2, 0.4, 0.5
        shadow(ledger, day, volatility=0.3, passage=0.6)
        shadow(ledger, day, volatility=0.9)
        ledger.append_outcomes([came(day, 60, event, market=MARKET)], NOW)
    rows = {row.model: row for row in live_rows(ledger, MARKET)}
    assert set(rows) == {"hazard", "volatility", "passage"}  # the made forecast calls its model a hazard
    assert rows["passage"].n == 3
    assert rows["passage"].brier == pytest.approx((0.4**2 + 0.6**2 + 0.4**2) / 3)
    assert rows["passage"].champion_brier == pytest.approx((0.6**2 + 0.4**2 + 0.6**2) / 3)
    expected = brier_factor(0.6, 0.3, 1) * brier_factor(0.6, 0.3, 0) * brier_factor(0.6, 0.3, 1)
    assert rows["passage"].e_values["volatility"] == pytest.approx(expected)
    assert lead(ledger, "passage-1", "pool-1") == pytest.approx(rows["passage"].e_values["hazard"])
    assert lead(ledger, "nobody", "pool-1") == 1.0
    assert ledger.has_shadows(pd.Timestamp(days[0]))
    assert not ledger.has_shadows(pd.Timestamp("2021-01-01"))


def test_overlapping_outcomes_count_once(ledger: Ledger) -> None:
    registered(ledger, "2022-01-02")
    days = [f"{day:%Y-%m-%d}" for day in pd.date_range("2022-01-02", periods=60)]
    for day in days:
        issue(ledger, day)
        shadow(ledger, day, passage=0.6)
    ledger.append_outcomes([came(day, 60, 1, market=MARKET) for day in days], NOW)
    assert lead(ledger, "passage-1", "pool-1") == pytest.approx(brier_factor(0.6, 0.4, 1))
    assert sum(1 for _ in ledger.of_kinds(OUTCOME)) == 60
