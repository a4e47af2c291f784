"""Servers that fail in every way they do, at random requests: nothing bad is stored, and the next fetch makes it whole."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from live_home import QUICK, TODAY, fetch_live, rows_of
from replay import Answer, Market, Replay, serving
from wide_market import declare_few

from sources.fetch import FetchReport
from sources.series import FED_ASSETS, HY_SPREAD, STABLECOIN_SUPPLY
from sources.simulated import simulate
from sources.store import Store

ROUNDS, LONG_ROUNDS = 2, 20
SINCE = pd.Timestamp("2024-11-01")
FUNDS = ("SPY", "IWM", "^RUT")
PATIENT = replace(QUICK, attempts=3, timeout=0.6, at_once=1)

FAULTS = {
    "429": Answer("Too Many Requests", 429, {"Retry-After": "0"}),
    "500": Answer("<html>Internal Server Error</html>", 500),
    "503": Answer("", 503),
    "timeout": Answer("", how="silence"),
    "reset": Answer("", how="reset"),
    "slow drip": Answer("", how="drip"),
    "HTML instead of JSON": Answer(
        "<!DOCTYPE html><html><body>Will be right back</body></html>", 200, {"Content-Type": "text/html"}
    ),
    "empty 200": Answer("", 200),
    "half a body": Answer("", how="half"),
    "half a body that says it is whole": Answer("", how="cut"),
}


@pytest.fixture(scope="module")
def market() -> Market:
    frames = simulate(start="2020-01-01", end="2024-12-31", stocks=1, coins=5)
    return Market(frames, SINCE, TODAY.normalize())


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    declare_few(monkeypatch, *FUNDS, series=(FED_ASSETS, HY_SPREAD), large_coins=1)


def fetched(file: Path, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> FetchReport:
    """A fetch into the store at `file`, which is closed again."""
    with Store.open(file) as store:
        return fetch_live(store, replay, monkeypatch, patience=PATIENT)


@pytest.fixture(scope="module")
def undisturbed(market: Market, tmp_path_factory: pytest.TempPathFactory) -> tuple[set[tuple[object, ...]], int]:
    """What a store holds after a fetch from sound servers, and how many requests it takes."""
    file = tmp_path_factory.mktemp("sound") / "store.duckdb"
    with pytest.MonkeyPatch.context() as patch, serving(market.routes()) as replay:
        declare_few(patch, *FUNDS, series=(FED_ASSETS, HY_SPREAD), large_coins=1)
        fetched(file, replay, patch)
        return rows_of(file), len(replay.asked)


@pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(LONG_ROUNDS, marks=pytest.mark.long)])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_disturbed_fetch_stores_nothing_bad_and_the_next_one_makes_it_whole(
    market: Market,
    undisturbed: tuple[set[tuple[object, ...]], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    rounds: int,
) -> None:
    whole, requests = undisturbed
    for number in range(rounds):
        file = tmp_path / "home" / "store.duckdb"
        with serving(market.routes()) as replay:
            chosen = disturbed(np.random.default_rng([number, *fault.encode()]), requests, lasting=number % 2 == 1)
            replay.faults = dict.fromkeys(chosen, FAULTS[fault])
            report = fetched(file, replay, monkeypatch)
            assert len(replay.faults) < len(chosen), "no request met a fault"
            stored, replay.faults = rows_of(file), {}
            assert stored <= whole, "something bad was stored"
            if stored != whole:
                assert clear(report)
                fetched(file, replay, monkeypatch)
        assert rows_of(file) == whole
        shutil.rmtree(file.parent)


def disturbed(rng: np.random.Generator, requests: int, *, lasting: bool) -> list[int]:
    """Which requests meet a fault: three single ones, or, if `lasting`, more in a row than a client has patience for."""
    if lasting:
        first = int(rng.integers(requests // 2))
        return list(range(first, first + 4 * PATIENT.attempts))
    return [int(place) for place in rng.choice(requests, size=3, replace=False)]


def clear(report: FetchReport) -> bool:
    """Whether somebody is told what did not come and what to do, on lines of their own."""
    advice = ("ry again", "etch again", "in a browser", "wrong or gone", "no longer come", "no longer lists")
    told = [line for line in report.warnings if "came from" not in line and "FRED_API_KEY" not in line]
    return bool(told) and all("\n" not in line and any(words in line for words in advice) for line in told)


def test_a_slow_drip_is_given_up_in_time(market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(market.routes()) as replay:
        replay.first["/graph"] = [replace(market.graph("", {"id": "WALCL"}), how="drip")] * PATIENT.attempts
        report = fetched(tmp_path / "store.duckdb", replay, monkeypatch)
    told = [line for line in report.warnings if line.startswith("WALCL")]
    assert told == ["WALCL: FRED gave no WALCL: no whole answer within 1 s. Try again later."]


def test_a_table_cut_between_two_lines_is_made_whole_by_the_next_fetch(
    market: Market, undisturbed: tuple[set[tuple[object, ...]], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(market.routes()) as replay:
        whole = market.graph("", {"id": "BAMLH0A0HYM2"}).body
        lines = whole.splitlines(keepends=True)
        replay.first["/graph"] = [market.graph("", {"id": "WALCL"}), Answer("".join(lines[: len(lines) // 2]))]
        file = tmp_path / "store.duckdb"
        fetched(file, replay, monkeypatch)
        assert rows_of(file) < undisturbed[0]
        fetched(file, replay, monkeypatch)
    assert rows_of(file) == undisturbed[0]


def test_supply_is_there_only_if_all_of_it_came(market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(market.routes()) as replay:
        replay.first["/timeseries"] = [Answer("{", 200)] * PATIENT.attempts
        fetched(tmp_path / "store.duckdb", replay, monkeypatch)
    with Store.open(tmp_path / "store.duckdb", read_only=True) as store:
        rows = store.read(STABLECOIN_SUPPLY, pd.Timestamp("2025-06-01"))
    assert len(rows) == (pd.Timestamp("2024-12-30") - SINCE).days + 1
