"""A study of simulated markets: the same whoever computes it, safe to kill, exact in what it counts, and as documented."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import binom, mannwhitneyu, norm

from altrally.cli import run
from altrally.study_pages import needed_sentence, size_sentence
from core.errors import BadInput, Refused
from core.progress import silent
from evaluation.sample import BASELINES
from models.catalog import CLAIM, COMPOSITES
from sources.layout import batches
from sources.reader import hold
from sources.series import PANELS, SERIES, Panel
from sources.simulated import simulate
from sources.store import Store
from studies.naive_tests import auc_p, newey_west_variance, slope_p_values, smaller_loss_p
from studies.power import END, Line, Scenario, Study, line_of, run_study
from studies.power_report import exact_interval, report

STUDY = Study(markets=3, years=(6,), strengths=(0.0,), lag_weeks=8, seed=7)
PROMISED = ("drift", "history", "live")
DOCUMENTED = Path(__file__).parents[1] / "docs" / "power.json"

KILLED = """
import sys
from pathlib import Path
from studies.power import Study, run_study
run_study(Study(3, (6,), (0.0,), 8, 7), Path(sys.argv[1]), processes=1, progress=lambda label, done, total: print(done, flush=True))
"""


@pytest.fixture(scope="module")
def seen() -> list[int]:
    """How many markets a killed study had when it went on, and after each that followed."""
    return []


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, seen: list[int]) -> Path:
    """The results of the small study: killed after its first market, amid a line, and gone on with in two processes."""
    file = tmp_path_factory.mktemp("power") / "kept.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, file], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as writer:
        assert writer.stdout is not None
        assert [writer.stdout.readline().strip() for _ in range(2)] == ["0", "1"]
        os.killpg(writer.pid, signal.SIGKILL)
    with file.open("a") as torn:
        torn.write('{"configuration": "')
    run_study(STUDY, file, processes=2, progress=lambda label, done, total: seen.append(done))
    return file


@pytest.fixture(scope="module")
def lines(kept: Path) -> list[Line]:
    """Its markets, in order."""
    return sorted((json.loads(text) for text in kept.read_text().splitlines()), key=lambda line: line["market"])


def test_memory_answers_as_a_store_does(tmp_path: Path) -> None:
    frames = simulate(seed=3, start="2020-01-01", end="2023-12-31", stocks=3, coins=8)
    held = hold(batches(frames, "simulated"), "simulated", "seed 3")
    since, until = pd.Timestamp("2021-03-01"), pd.Timestamp("2023-06-30")
    with Store.open(tmp_path / "store.duckdb") as store:
        store.claim_market("simulated")
        for batch in batches(frames, "simulated"):
            store.append(batch, pd.Timestamp("2025-01-01"))
        for source in (*SERIES.values(), *PANELS.values()):
            for start in (None, since):
                reads = [
                    reader.read_panel(source, until, start) if isinstance(source, Panel) else reader.read(source, until, start)
                    for reader in (held, store)
                ]
                pd.testing.assert_frame_equal(*reads, check_exact=True, check_freq=False)


def test_a_killed_study_goes_on_where_it_stopped(lines: list[Line], seen: list[int]) -> None:
    assert seen == [1, 2, 3]
    assert [line["market"] for line in lines] == [0, 1, 2]


def test_a_market_is_the_same_whoever_computes_it(lines: list[Line]) -> None:
    assert line_of(STUDY.configuration, STUDY.scenarios()[1]) == lines[1]


def test_a_finished_study_is_not_computed_again(kept: Path, lines: list[Line]) -> None:
    before = kept.read_bytes()
    assert run_study(STUDY, kept, processes=1, progress=silent) == lines
    assert kept.read_bytes() == before


def test_markets_differ_and_so_do_their_inputs(lines: list[Line]) -> None:
    assert len({line["own"]["skill"]["volatility"] for line in lines}) == 3
    for line in lines:
        assert line["own"]["usual"]["slope_crypto_state"] != line["independent"]["usual"]["slope_crypto_state"]
        assert line["own"]["drift_p"] != line["independent"]["drift_p"]
        assert line["own"]["history"] == (line["own"]["drift"] and line["own"]["ahead_of_all"])
        assert line["own"]["weeks"] > 80


def test_the_documented_size_lies_in_the_interval_of_a_small_study(lines: list[Line]) -> None:
    documented = json.loads(DOCUMENTED.read_text())
    assert documented["configuration"] == STUDY.configuration
    small = {(row["years"], row["inputs"]): row for row in report(STUDY, lines)["cells"]}
    compared = 0
    for row in documented["cells"]:
        if row["strength"] == 0 and (row["years"], row["inputs"]) in small:
            found = small[row["years"], row["inputs"]]
            for test in PROMISED:
                assert found[test]["low"] <= row[test]["value"] <= found[test]["high"]
            assert abs(found["skill"]["volatility"]["value"] - row["skill"]["volatility"]["value"]) < 0.2
            compared += 1
    assert compared == 2


def test_the_documented_sizes_of_a_history_as_long_as_the_real_one_are_kept() -> None:
    documented = json.loads(DOCUMENTED.read_text())
    assert {row["years"]: row for row in documented["size_kept"]}[11] == {"years": 11} | dict.fromkeys(PROMISED, True)
    for row in documented["cells"]:
        for test in PROMISED:
            assert row[test]["of"] == row["markets"]
            limits = (row[test]["low"], row[test]["high"])
            assert exact_interval(row[test]["rejected"], row["markets"]) == pytest.approx(limits)


def test_the_page_shows_the_documented_figures() -> None:
    page = DOCUMENTED.with_suffix(".md").read_text()
    for row in json.loads(DOCUMENTED.read_text())["cells"]:
        about = f"| {row['years']} | {row['strength']:g} | {row['inputs']} | {row['markets']} |"
        assert any(line.startswith(about) and f"{row['history']['value']:.1%}" in line for line in page.splitlines())


def test_the_command_answers_in_json_and_says_that_markets_are_simulated(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["altrally", "power", "--markets", "3", "--years", "6", "--strength", "0", "--out", str(kept)]
    for more in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", [*words, *more])
        with pytest.raises(SystemExit) as stop:
            run()
        assert not stop.value.code
    page, answered = capsys.readouterr().out.split("{", 1)
    assert "Simulated market" in page
    assert "history supports it" in page
    found = json.loads("{" + answered)
    assert found["configuration"] == STUDY.configuration
    assert [(row["inputs"], row["markets"]) for row in found["cells"]] == [("independent", 3), ("own", 3)]
    assert found["years_needed"] == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"markets": 0}, "--markets"),
        ({"years": (5,)}, "--years 5"),
        ({"years": (101,)}, "--years 101"),
        ({"strengths": (-1.0,)}, "--strength -1"),
        ({"strengths": (float("nan"),)}, "--strength nan"),
        ({"lag_weeks": -1}, "--lag-weeks"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_what_cannot_be_simulated_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Study(**(vars(STUDY) | changed))


def test_a_file_of_another_study_is_left_alone(kept: Path, tmp_path: Path) -> None:
    before = kept.read_bytes()
    with pytest.raises(Refused, match="another --out"):
        run_study(Study(3, (6,), (0.0,), 8, seed=8), kept, processes=1, progress=silent)
    assert kept.read_bytes() == before
    other = tmp_path / "other.jsonl"
    other.write_text("[1]\n")
    with pytest.raises(BadInput, match="Line 1 of"):
        run_study(STUDY, other, processes=1, progress=silent)


def test_lengths_end_on_the_same_day_and_judge_all_but_four_years() -> None:
    scenario = Scenario(seed=7, market=0, years=11, strength=0, lag_weeks=8)
    assert scenario.start == pd.Timestamp("2014-01-01")
    assert scenario.settings.start == pd.Timestamp("2015-01-01")
    assert scenario.settings.first_test == pd.Timestamp("2018-01-01")
    assert pd.Timestamp("2024-12-31") == END


def test_exact_intervals_leave_a_fortieth_on_either_side() -> None:
    low, high = exact_interval(7, 50)
    assert binom.sf(6, 50, low) == pytest.approx(0.025)
    assert binom.cdf(7, 50, high) == pytest.approx(0.025)
    assert exact_interval(0, 10) == pytest.approx((0, 1 - 0.025 ** (1 / 10)))
    assert exact_interval(10, 10) == pytest.approx((0.025 ** (1 / 10), 1))


def made_line(years: int, market: int, *, strength: float, shown: bool, p: float) -> Line:
    """A market as it would have been kept."""
    usual = {"auc": p, "diebold_mariano": p} | {f"slope_{name}": p for name in COMPOSITES}
    found = {"skill": dict.fromkeys(BASELINES, 0.1), "usual": usual} | dict.fromkeys(PROMISED, shown)
    about = {"configuration": STUDY.configuration, "years": years, "strength": strength, "market": market}
    return about | {"own": found, "independent": found if strength == 0 else None}


def curve(shown: Sequence[tuple[int, int]], strength: float = 1) -> list[Line]:
    """Ten markets a length, of which so many show skill."""
    return [
        made_line(years, market, strength=strength, shown=market < count, p=0.01 if market < count else 0.05)
        for years, count in shown
        for market in range(10)
    ]


def test_shares_are_counted_strictly_below_the_level() -> None:
    row = report(STUDY, curve([(10, 3)]))["cells"][0]
    assert {row[test]["rejected"] for test in (*PROMISED, "auc", "any_slope", "slope_breadth")} == {3}
    assert row["drift"]["value"] == pytest.approx(0.3)
    assert row["skill"]["volatility"]["value"] == pytest.approx(0.1)


def test_years_needed_lie_on_the_straight_line_between_lengths() -> None:
    needed = report(STUDY, curve([(10, 2), (20, 6), (40, 10)]))["years_needed"]
    assert [row["test"] for row in needed] == list(PROMISED)
    assert needed[0]["years"] == pytest.approx(30)
    assert needed_sentence(needed[0]).endswith("at strength 1: 30 years.")


def test_power_that_is_not_reached_is_said_so() -> None:
    never, at_once = (report(STUDY, curve(shape))["years_needed"][0] for shape in ([(10, 2), (40, 7)], [(10, 9), (40, 10)]))
    assert never["years"] is None
    assert needed_sentence(never).endswith("not within 40 years.")
    assert needed_sentence(at_once).endswith("at most 10 years.")


def test_size_is_broken_only_where_the_interval_lies_above_the_level() -> None:
    kept, broken = (report(STUDY, curve([(10, count)], strength=0))["size_kept"] for count in (1, 4))
    assert kept == [{"years": 10} | dict.fromkeys(PROMISED, True)]
    assert broken == [{"years": 10} | dict.fromkeys(PROMISED, False)]
    assert "10 years: kept," in size_sentence(kept[0])
    assert "NOT kept by drift score, history supports it, shown live" in size_sentence(broken[0])
    assert report(STUDY, curve([(10, 4)]))["size_kept"] == []


def test_usual_tests_are_those_of_the_textbook() -> None:
    rng = np.random.default_rng(5)
    loss, reference = rng.random(200), rng.random(200) + 0.05
    fit = sm.OLS(reference - loss, np.ones(200)).fit(cov_type="HAC", cov_kwds={"maxlags": 8})
    assert newey_west_variance(reference - loss, 8) / 200 == pytest.approx(fit.bse[0] ** 2)
    assert smaller_loss_p(loss, reference, 60) == pytest.approx(norm.sf(fit.tvalues[0]))
    probability, outcome = rng.random(200), (rng.random(200) < 0.4).astype(float)
    ranks = mannwhitneyu(
        probability[outcome == 1], probability[outcome == 0], alternative="greater", use_continuity=False, method="asymptotic"
    )
    assert auc_p(probability, outcome) == pytest.approx(ranks.pvalue)
    assert np.isnan(auc_p(probability, np.ones(200)))


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_slopes_that_separate_have_no_p_value() -> None:
    X = pd.DataFrame({name: np.linspace(-1, 1, 60) for name in CLAIM[:1]})
    events = pd.DataFrame({days: (X.iloc[:, 0] > 0).astype(float) for days in (30, 60, 90)})
    assert slope_p_values(X, events, (30, 60, 90)) == {CLAIM[0]: None}
