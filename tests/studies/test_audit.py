"""The audit counts what a patient reader would count by hand, sees no future, and finds nothing where there is nothing."""

import json
import sys
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from altrally.cli import run
from altrally.columns import show
from altrally.study_pages import audit_page
from sources.layout import batches
from sources.simulated import simulate
from sources.store import Store
from studies.audit.breakouts import BREAKOUT_RULE, WINDOWS, HitRate, breakouts
from studies.audit.claim import Audit, audit
from studies.audit.market_state import facts_known
from studies.audit.verdicts import LEAST_N, NOT_SUPPORTED, SUPPORTED, Evidence, verdict
from studies.audit.verdicts import RULE as RULE_TEXT
from studies.study_figures import write_figures

Frames = Mapping[str, pd.DataFrame]
FETCHED = pd.Timestamp("2025-01-01")
DRAWS = 500
TRUE_ANYWAY = ("liquidity → credit", "credit → stocks", "stocks → small caps")


def stored(folder: Path, frames: Frames) -> Store:
    """A new store of drop-in frames."""
    folder.mkdir(parents=True)
    store = Store.open(folder / "store.duckdb")
    store.claim_market("simulated")
    for batch in batches(frames, "simulated"):
        store.append(batch, FETCHED)
    return store


@cache
def small(*, seed: int = 3, strength: float = 1.0) -> dict[str, pd.DataFrame]:
    """A small simulated market: what an audit reads of it."""
    market = simulate(seed=seed, strength=strength, start="2017-01-01", end="2021-06-30", stocks=1, coins=16)
    prices, fred = market["prices"], market["fred"]
    series = ("WALCL", "WTREGEN", "RRPONTSYD", "BAMLH0A0HYM2")
    return {
        "prices": prices[prices["ticker"].isin(["^RUT", "IWM", "SPY"])],
        "fred": fred[fred["series"].isin(series)],
        "crypto": market["crypto"],
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that holds the small market."""
    folder = tmp_path_factory.mktemp("small") / "home"
    stored(folder, small()).close()
    return folder


@pytest.fixture(scope="module")
def audited(home: Path) -> Audit:
    """An audit of the small market."""
    with Store.open(home / "store.duckdb", read_only=True) as store:
        return audit(store, pd.Timestamp("2021-07-01"), draws=DRAWS)


def hand_made() -> dict[str, pd.DataFrame]:
    """^RUT breaks out three times; two equal coins answer the first after 40 days, the second never; the third isn't over.

    Sessions are weekdays from 2016-01-04: numbers 0, 300, 600 and 900 are records, nothing between.
    """
    sessions = pd.bdate_range("2016-01-04", periods=920)
    close = pd.Series(90.0, sessions)
    close.iloc[[0, 300, 600, 900]] = [100.0, 101.0, 102.0, 103.0]
    days = pd.date_range("2016-01-01", sessions[-1])
    price = pd.Series(1.0, days)
    price[sessions[300] + pd.Timedelta(days=40) :] = 1.3
    price[sessions[300] + pd.Timedelta(days=200) :] = 1.0
    prices = pd.DataFrame({"date": sessions, "ticker": "^RUT", "close": close.to_numpy(), "adj_close": close.to_numpy()})
    coins = [
        pd.DataFrame({"date": days, "asset": name, "asset_class": "coin", "price": price.to_numpy(), "market_cap": 1e9})
        for name in ("one", "two")
    ]
    return {"prices": prices, "crypto": pd.concat(coins, ignore_index=True)}


def cell_of(grid: list[HitRate], rise: float, first: int, last: int) -> HitRate:
    """The default rule's cell of the grid."""
    asked = (*BREAKOUT_RULE, rise, first, last)
    return next(row for row in grid if (row.kind, row.quiet, row.rise, row.first_day, row.last_day) == asked)


def test_hits_of_a_hand_made_market_are_counted_as_by_hand(tmp_path: Path) -> None:
    with stored(tmp_path / "home", hand_made()) as store:
        facts = facts_known(store, pd.bdate_range("2016-01-04", periods=920)[-1])
    found = breakouts(facts)
    events = [event for event in found.events if (event.kind, event.quiet) == BREAKOUT_RULE]
    assert [event.close for event in events] == [101, 102, 103]
    assert [event.first_passage_days for event in events] == [40, None, None]
    assert [event.hits["day 1 to 90"] for event in events] == [True, False, None]
    assert [event.hits["day 30 to 90"] for event in events] == [True, False, None]
    assert [event.unknown for event in events] == [None, None, "not over yet"]
    moves = {row.days: (row.value, row.highest) for row in events[0].followed["altcoins"]}
    assert moves[30] == (0, 0)
    assert moves[60] == pytest.approx((0.3, 0.3))
    assert all(row.value is None for row in events[0].followed["BTC"]), "the store has no BTC"
    cell = cell_of(found.grid, 0.3, 1, 90)
    assert (cell.hits, cell.n) == (1, 2)
    days = pd.date_range("2016-01-31", facts.as_of - pd.Timedelta(days=1 + 90))
    assert cell.rotations == len(days)
    assert cell.base_rate == pytest.approx(90 / len(days)), "the 90 days before the rise, and no others"
    assert cell_of(found.grid, 0.5, 1, 90).hits == 0
    assert cell_of(found.grid, 0.3, 1, 30).hits == 0


def test_every_event_of_the_default_rule_waits_a_year(audited: Audit) -> None:
    days = [pd.Timestamp(event.day) for event in audited.breakouts.events if (event.kind, event.quiet) == BREAKOUT_RULE]
    assert days
    assert all(later - earlier >= pd.Timedelta(days=364) for earlier, later in pairwise(days))


def test_the_json_is_the_contract(audited: Audit) -> None:
    told = json.loads(json.dumps(audited.to_dict(), allow_nan=False))
    parts = {"lines", "breakouts", "cascade", "amplifier", "supercycle", "history"}
    assert parts | {"as_of", "market", "snapshot", "rule", "chance"} == told.keys()
    assert {row["kind"] for row in told["breakouts"]["events"]} <= {"record", "52-week high"}
    assert len(told["breakouts"]["grid"]) == 2 * 3 * 3 * len(WINDOWS)
    assert [row["said"] for row in told["breakouts"]["article"]] == ["2017", "2021", "January 2026"]
    assert len(told["cascade"]["tests"]) == 30
    assert len(told["cascade"]["lead_lag"]) == 5
    for line in told["lines"]:
        assert line["verdict"] == verdict(Evidence(**line["evidence"])), "never typed"


def evidence(**changes: Any) -> Evidence:
    """Enough for `supported`, unless changed."""
    given = {"n": LEAST_N, "needed": 0.2, "effect": 0.3, "low": 0.1, "high": 0.5, "p": 0.01}
    return Evidence(**(given | changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, SUPPORTED),
        ({"placebo_p": 0.06}, SUPPORTED),
        ({"placebo_p": 0.01}, "can't be told (n = 10)"),
        ({"n": LEAST_N - 1}, "can't be told (n = 9)"),
        ({"p": 0.05}, "can't be told (n = 10)"),
        ({"low": 0.0}, "can't be told (n = 10)"),
        ({"effect": 0.0, "low": -0.1, "high": 0.1, "p": 0.5}, NOT_SUPPORTED),
        ({"effect": 0.0, "low": -0.1, "high": 0.3, "p": 0.5}, "can't be told (n = 10)"),
        ({"effect": None, "low": None, "high": None, "p": None, "missing": "no data"}, "can't be told (n = 10)"),
        ({"n": 2, "effect": -0.5, "low": -0.6, "high": -0.4, "p": 1.0}, "can't be told (n = 2)"),
    ],
)
def test_the_verdict_follows_its_rule(changes: dict[str, Any], expected: str) -> None:
    assert verdict(evidence(**changes)) == expected


def test_the_future_never_changes_an_audit_of_an_earlier_day(tmp_path: Path) -> None:
    frames, as_of = small(), pd.Timestamp("2020-09-13")
    shortened = {name: frame[frame["date"] <= as_of] for name, frame in frames.items()}
    other = {name: distorted(frame, as_of) for name, frame in frames.items()}
    told = []
    for name, market in (("short", shortened), ("other", other)):
        with stored(tmp_path / name, market) as store:
            told.append(audit(store, as_of, draws=DRAWS).to_dict())
    assert told[0] == told[1]


def distorted(frame: pd.DataFrame, after: pd.Timestamp) -> pd.DataFrame:
    """Every number after a day multiplied, differently for each row."""
    changed, later = frame.copy(), frame["date"] > after
    rng = np.random.default_rng(0)
    numbers = [name for name in frame.select_dtypes("number") if name not in ("derived", "mcap_suspect", "bad_tick")]
    factors = np.exp(rng.normal(0, 1, int(later.sum())))
    for name in numbers:
        changed[name] = changed[name].astype(np.float64)
        changed.loc[later, name] *= factors
    return changed


@pytest.mark.parametrize(
    ("kept", "missing"),
    [
        (("fred",), ("no closes of ^RUT", "no weeks of altcoins", "no coin prices")),
        (("crypto",), ("no closes of ^RUT", "no weeks of net liquidity")),
        (("prices",), ("no coin prices", "no weeks of net liquidity")),
    ],
)
def test_what_lacks_data_says_so(tmp_path: Path, kept: tuple[str, ...], missing: tuple[str, ...]) -> None:
    frames = {name: frame for name, frame in small().items() if name in kept}
    with stored(tmp_path / "home", frames) as store:
        found = audit(store, pd.Timestamp("2021-06-30"), draws=DRAWS)
    json.dumps(found.to_dict(), allow_nan=False)
    reasons = " ".join(line.evidence.missing for line in found.lines)
    assert all(words in reasons for words in missing)
    assert all(line.verdict.startswith("can't be told") for line in found.lines if line.evidence.effect is None)
    write_figures(found, tmp_path / "figures")


def test_a_day_before_all_data_can_tell_nothing(home: Path) -> None:
    with Store.open(home / "store.duckdb", read_only=True) as store:
        found = audit(store, pd.Timestamp("1999-01-01"), draws=DRAWS)
    assert all(line.verdict == "can't be told (n = 0)" for line in found.lines)


def lines_about_altcoins(folder: Path, seed: int) -> list[str]:
    """Verdicts of a market whose altcoins know nothing of liquidity; what comes before them in the cascade is true there."""
    with stored(folder, small(seed=seed, strength=0.0)) as store:
        found = audit(store, pd.Timestamp("2021-07-01"), draws=DRAWS)
    return [line.verdict for line in found.lines if line.name not in TRUE_ANYWAY]


def test_altcoins_that_know_nothing_support_little(tmp_path: Path) -> None:
    assert lines_about_altcoins(tmp_path / "home", 11).count(SUPPORTED) <= 1


@pytest.mark.long
def test_of_many_markets_without_signal_one_line_in_twenty_is_supported(tmp_path: Path) -> None:
    verdicts = [told for seed in range(20, 60) for told in lines_about_altcoins(tmp_path / str(seed), seed)]
    assert len(verdicts) == 440
    assert verdicts.count(SUPPORTED) <= 31, "5 % would be 22; beyond 31 lies 1 in 40"


def ran(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Exit code of a command line run in this process."""
    monkeypatch.setattr(sys, "argv", ["altrally", *map(str, words)])
    try:
        run()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_the_command_answers_programs_and_draws(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(monkeypatch, "--home", home, "audit", "--as-of", "2020-09-13", "--json", "--figures", tmp_path / "figures") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["as_of"], told["market"]) == ("2020-09-13", "simulated")
    files = [tmp_path / "figures" / name for name in ("breakouts.png", "grid.png", "lead_lag.png")]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_the_page_says_what_is_simulated_and_by_which_rule(audited: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    show(audit_page(audited))
    page = capsys.readouterr().out
    assert "Simulated market" in page
    assert RULE_TEXT[:60] in page
    assert all(line.verdict in page for line in audited.lines)


def test_bad_input_gets_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    stored(home, {"fred": small()["fred"]}).close()
    (tmp_path / "file").touch()
    wrong = [("--as-of", "soon"), ("--as-of", "2999-01-01"), ("--as-of", "1999-01-01", "--figures", tmp_path / "file")]
    for words in wrong:
        assert ran(monkeypatch, "--home", home, "audit", *words) == 1
        said = capsys.readouterr().err
        assert said.startswith("altrally: ")
        assert said.count("\n") == 1
    assert ran(monkeypatch, "--home", home, "audit") == 0, "a store without coins is audited as far as it goes"
    assert ran(monkeypatch, "--home", tmp_path / "none", "audit") == 1
