"""Pictures are drawn, and their titles say what the numbers say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from evaluation.bootstrap import Band, Interval
from evaluation.comparison import cumulative_lead
from evaluation.decision_value import murphy, value_curve
from evaluation.reliability import Reliability, reliability_curve
from evaluation.sample import EvaluationSample
from studies import study_figures
from studies.backtest import following
from training import panel_figures as figures
from training.null_tests import null_distribution
from training.robustness import LEFT_OUT, BlockContribution, by_year, sharpness

ABOUT = "hazard · simulated market"
NAMES = ("hazard", "volatility", "climatology", "random_walk", "momentum")


def made(horizon: int, n: int = 150) -> EvaluationSample:
    rng = np.random.default_rng(horizon)
    days = pd.date_range("2019-01-06", periods=n, freq="W-SUN")
    return EvaluationSample(horizon, days, {name: rng.uniform(0.1, 0.8, n) for name in NAMES}, (rng.random(n) < 0.4).astype(float))


FOUND = {days: made(days) for days in (30, 60, 90)}


def blocks(low: float) -> list[BlockContribution]:
    interval = Interval(0.02, low, 0.05)
    return [BlockContribution("hazard", days, block, 150, 0.2, 0.21, interval) for days in (30, 60, 90) for block in LEFT_OUT]


def drawn(file: Path) -> bool:
    """A picture with ink on it, not all of it."""
    return 0.001 < (imread(file)[:, :, :3] < 0.7).any(axis=2).mean() < 0.5


def test_every_picture_of_the_panel_is_drawn(tmp_path: Path) -> None:
    walks = ("climatology", "random_walk", "momentum")
    few = {"seed": 1, "draws": 50}
    figures.draw_corp({k: reliability_curve(one, "hazard", **few) for k, one in FOUND.items()}, ABOUT, tmp_path / "1.png")
    figures.draw_murphy({k: murphy(one, "hazard", **few) for k, one in FOUND.items()}, ABOUT, tmp_path / "2.png")
    figures.draw_value({k: value_curve(one, "hazard", **few) for k, one in FOUND.items()}, ABOUT, tmp_path / "3.png")
    spread = {k: {name: sharpness(one.probabilities[name]) for name in NAMES[:3]} for k, one in FOUND.items()}
    figures.draw_sharpness(spread, ABOUT, tmp_path / "4.png")
    figures.draw_by_year({k: by_year(one, "hazard", seed=1) for k, one in FOUND.items()}, ABOUT, tmp_path / "5.png")
    figures.draw_ablation(blocks(-0.01), ABOUT, tmp_path / "6.png")
    figures.draw_cumulative([cumulative_lead(FOUND[60], "hazard", name, seed=1) for name in walks], ABOUT, tmp_path / "7.png")
    values = np.random.default_rng(1).normal(size=300)
    figures.draw_null(null_distribution(np.r_[0.1, values], 39), values, "Brier skill", ABOUT, tmp_path / "8.png")
    assert [file.name for file in sorted(tmp_path.iterdir()) if drawn(file)] == [f"{number}.png" for number in range(1, 9)]


def test_a_single_horizon_is_drawn_too(tmp_path: Path) -> None:
    figures.draw_value({60: value_curve(FOUND[60], "hazard", seed=1, draws=50)}, ABOUT, tmp_path / "one.png")
    figures.draw_murphy({60: murphy(FOUND[60], "hazard", seed=1, draws=50)}, ABOUT, tmp_path / "two.png")
    assert all(drawn(file) for file in tmp_path.iterdir())


def test_following_is_drawn_and_titled_with_its_growth(tmp_path: Path) -> None:
    days = pd.date_range("2019-01-01", "2021-12-31")
    sundays = pd.date_range("2019-01-06", "2021-12-26", freq="W-SUN")
    level = pd.Series(np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.04, len(days)))), days)
    probability = pd.Series(np.random.default_rng(2).random(len(sundays)), sundays)
    names = {"model": "hazard", "market": "simulated", "horizon": 60, "trials": 65, "seed": 1}
    found = following(probability, pd.Series(0.5, sundays), level, level, **names)
    study_figures.draw_following(found, tmp_path / "following.png")
    assert drawn(tmp_path / "following.png")
    assert study_figures.following_finding(found).startswith(f"The rule {found.records[0].growth:+.0%} a year, altcoins")


def test_titles_say_what_the_intervals_say() -> None:
    at = np.zeros(4)
    mixed, none = Band(at, np.array([-1, 1e-16, 0.1, 0.2]), np.array([-0.1, 1, 1, 1])), Band(at, at - 1, at + 1)
    told = figures.threshold_finding({30: none, 60: mixed}, "Of value")
    assert told == "Of value beyond chance at 0 and 2 of 4 thresholds within 30 and 60 days, the opposite at 0 and 1"
    assert "the opposite" not in figures.threshold_finding({60: none}, "Of value")
    assert figures.ablation_finding(blocks(-0.01)) == "Within 60 days no block's addition can be told from zero"
    assert figures.ablation_finding(blocks(0.01)).startswith("Within 60 days told from zero: breadth +0.020, breakout +0.020")
    assert figures.listed([30]) == "30"


def test_reliability_is_accused_only_beyond_what_chance_does() -> None:
    curve = reliability_curve(FOUND[60], "hazard", seed=1, draws=50)
    good = replace(curve, reliability=Reliability(0.01, 0.02, 0.24, 0.02, 0.03))
    bad = replace(curve, reliability=Reliability(0.04, 0.02, 0.24, 0.02, 0.03))
    assert figures.corp_finding({30: good, 60: good}).startswith("No less reliable")
    assert figures.corp_finding({30: good, 60: bad}).endswith("within 60 days")


@pytest.mark.parametrize(("observed", "words"), [(5.0, "No rotation gave as much"), (1.0, "2 of 3 rotations gave as much")])
def test_the_null_counts_rotations_and_what_cannot_be_had_counts_as_good(observed: float, words: str) -> None:
    by_chance = np.array([0.5, 2.0, np.nan]) if observed == 1 else np.array([0.5, 2.0, 3.0])
    assert figures.null_finding(observed, by_chance, 0.25) == f"{words} as the true dates (p = 0.250)"


def test_a_lead_is_told_only_beyond_chance() -> None:
    lead = cumulative_lead(FOUND[60], "hazard", "climatology", seed=1)
    low, high, end = lead.low[-1], lead.high[-1], lead.lead.copy()
    within, ahead, behind = (replace(lead, lead=np.append(end[:-1], last)) for last in ((low + high) / 2, high + 1, low - 1))
    assert figures.cumulative_finding([within]) == "In the end no further ahead or behind than chance goes"
    behind = replace(behind, other="momentum")
    assert figures.cumulative_finding([ahead, behind]) == "In the end ahead of climatology and behind momentum by more than chance"


def test_years_are_counted_by_their_intervals() -> None:
    row = by_year(FOUND[60], "hazard", seed=1)[0]
    rows = [replace(row, skill_climatology=Interval(*one)) for one in ((0.1, 0.01, 0.2), (0.1, -0.1, 0.2), (-0.1, -0.2, -0.01))]
    told = "Within 60 days better than climatology in 2 of 3 years; beyond chance better in 1, worse in 1"
    assert figures.year_finding({30: rows[:1], 60: rows}) == told
