"""Leaks planted in a file of one's own are all found; nothing honest is called a leak."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from places import SUPPORT

from core.errors import BadInput, MissingData
from core.progress import silent
from features.build import load_own
from features.registry import FEATURES
from sources.series import COIN_PRICE, SPY
from sources.store import Store
from studies.leakcheck import (
    CLEAN,
    FAILED,
    LEAK,
    NO_VALUE,
    REFUSED,
    UNSTEADY,
    Check,
    Finding,
    LeakReport,
    leakcheck,
)
from studies.perturbation import (
    ABSURD,
    REMOVED,
    differing_columns,
    spoil,
)

UNTIL = pd.Timestamp("2020-12-31")
DAYS = pd.date_range("2020-01-01", periods=5, unit="us")


@pytest.fixture(scope="module")
def report(small_home: Path) -> LeakReport:
    """Everything planted and everything honest."""
    before = dict(FEATURES)
    own = (str(SUPPORT / "planted_leaks.py"), str(SUPPORT / "honest_features.py"))
    with Store.open(small_home / "store.duckdb", read_only=True) as store:
        found = leakcheck(store, Check(own, cuts=6, processes=2), UNTIL, None, silent)
    FEATURES.clear()
    FEATURES.update(before)
    load_own.cache_clear()
    return found


def named(report: LeakReport, beginning: str) -> dict[str, Finding]:
    return {one.name: one for one in report.findings if one.name.startswith(beginning)}


def test_every_planted_leak_is_found(report: LeakReport) -> None:
    planted = named(report, "leak_")
    assert len(planted) == 24
    assert {name: one.verdict for name, one in planted.items() if one.verdict not in (LEAK, UNSTEADY, REFUSED)} == {}
    assert [name for name, one in planted.items() if one.verdict == REFUSED] == ["leak_revised_as_if_final"]


def test_what_a_module_remembers_is_told_from_a_formula_that_looks_ahead(report: LeakReport) -> None:
    verdicts = {name: one.verdict for name, one in named(report, "leak_").items()}
    assert verdicts["leak_highest_ever_seen"] == UNSTEADY
    assert verdicts["leak_next_session"] == LEAK


def catalogue_check(home: Path, check: Check, until: pd.Timestamp) -> LeakReport:
    with Store.open(home / "store.duckdb", read_only=True) as store:
        return leakcheck(store, check, until, None, silent)


def require_clean(report: LeakReport, least_runs: int) -> None:
    assert len(report.findings) >= 55
    assert report.findings[-1].name == "score"
    assert {one.name: one.verdict for one in report.findings if one.verdict != CLEAN} == {}
    assert all(one.runs >= least_runs for one in report.findings)


def test_no_false_alarm_over_the_catalogue(small_home: Path) -> None:
    require_clean(catalogue_check(small_home, Check(cuts=2, processes=2), pd.Timestamp("2018-12-31")), 2 * 4 + 2)


@pytest.mark.long
@pytest.mark.reference
def test_no_false_alarm_over_the_catalogue_on_real_data(reference_home: Path) -> None:
    require_clean(catalogue_check(reference_home, Check(), pd.Timestamp("2024-12-31")), 2 * 28 + 200)


def test_no_false_alarm_over_honest_features(report: LeakReport) -> None:
    verdicts = {name: one.verdict for name, one in named(report, "honest_").items()}
    assert verdicts.pop("honest_never_known") == NO_VALUE
    assert set(verdicts.values()) == {CLEAN}


def test_a_leak_is_dated_and_measured(report: LeakReport) -> None:
    found = named(report, "leak_next_session")["leak_next_session"]
    assert found.first_day is not None
    assert found.cut is not None
    assert pd.Timestamp(found.cut) - pd.Timedelta(days=7) <= pd.Timestamp(found.first_day) <= pd.Timestamp(found.cut)
    assert found.by is None or found.by > 0


def test_all_that_did_not_pass_is_named(report: LeakReport) -> None:
    assert report.leaking == [one.name for one in report.findings if one.verdict not in (CLEAN, NO_VALUE)]
    assert (report.refits, report.random_cuts, report.thinned) == (12, 6, {})


def test_what_came_later_is_spoilt_and_the_past_kept() -> None:
    rows = pd.DataFrame({"observed": DAYS, "known": DAYS + pd.Timedelta(days=1), "value": np.arange(1.0, 6.0)})
    prices = pd.DataFrame({"a": np.arange(1.0, 6.0)}, DAYS)
    removed = spoil({SPY: rows, COIN_PRICE: prices}, DAYS[2], REMOVED, 1)
    assert [len(frame) for frame in removed.values()] == [2, 2], "a coin's price of the third day is known on the fourth"
    absurd = spoil({SPY: rows, COIN_PRICE: prices}, DAYS[2], ABSURD, 1)
    assert absurd[SPY]["value"].tolist()[:2] == [1.0, 2.0]
    assert (absurd[SPY]["value"].to_numpy()[2:] != rows["value"].to_numpy()[2:]).all()
    assert (absurd[COIN_PRICE]["a"].to_numpy()[2:] != prices["a"].to_numpy()[2:]).all()
    assert prices["a"].tolist() == [1, 2, 3, 4, 5], "the frames it was given are left as they were"


def test_one_bit_is_enough_and_days_after_the_cut_are_not_compared() -> None:
    truth = pd.DataFrame({"same": 1.0, "bit": 1.0, "gone": 1.0, "late": 1.0, "none": np.nan}, DAYS)
    again = truth.copy()
    again.loc[DAYS[1], "bit"] = np.nextafter(1.0, 2.0)
    again.loc[DAYS[2], "gone"] = np.nan
    again.loc[DAYS[4], "late"] = 9.0
    found = differing_columns(truth, again, DAYS[3])
    assert {name: one.day for name, one in found.items()} == {"bit": DAYS[1], "gone": DAYS[2]}
    assert found["bit"].by == pytest.approx(2.2e-16, rel=0.1)
    assert found["gone"].by is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n", "declares no feature"),
        ("def broken(:\n", "SyntaxError"),
        ("raise RuntimeError('on purpose')\n", "RuntimeError: on purpose"),
        ("from features.registry import feature\nfeature()(lambda: 1)\n", "can't be loaded: TypeError"),
        (
            "from features.registry import feature\nfrom sources.series import SPY\n"
            "@feature(SPY, block='ladder', sign=1, unit='', rationale='', lookback=9)\n"
            "def large_cap_return(close):\n    'Taken.'\n    return close\n",
            "Two features are named 'large_cap_return'",
        ),
    ],
)
def test_a_file_that_cannot_be_loaded_says_why_and_leaves_the_catalogue(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    before = list(FEATURES)
    with pytest.raises(BadInput, match=says):
        load_own(str(file))
    assert list(FEATURES) == before


@pytest.mark.parametrize("place", ["nowhere.py", "no.such.module"])
def test_a_place_that_is_not_there_is_named(place: str) -> None:
    with pytest.raises(BadInput, match=place):
        load_own(place)


def test_too_short_a_market_is_refused(small_home: Path) -> None:
    with Store.open(small_home / "store.duckdb", read_only=True) as store, pytest.raises(MissingData, match="more days"):
        leakcheck(store, Check(cuts=2), pd.Timestamp("2015-01-20"), None, silent)


def altrally(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from altrally.cli import run; run()", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_exits_1_with_one_line_where_a_formula_fails(small_home: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from features.registry import feature\nfrom sources.series import SPY\n"
        "@feature(SPY, block='ladder', sign=1, unit='', rationale='', lookback=9)\n"
        "def mine(close):\n    'Fails.'\n    return close['2019']['x']\n"
    )
    ran = altrally("--home", small_home, "leakcheck", "--own", file, "--cuts", "0", "--json")
    assert ran.returncode == 1
    assert ran.stderr.strip() == "altrally: 1 didn't pass: mine."
    found = json.loads(ran.stdout)
    assert found["findings"][0]["verdict"] == FAILED
    assert "KeyError" in found["findings"][0]["why"]
    assert found["leaking"] == ["mine"]
