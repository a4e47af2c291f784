"""The Brier score taken apart: parts add up, the library agrees, and a reliable forecaster is seldom accused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_diagnostics.scoring import SquaredError, decompose
from scipy.stats import norm
from sklearn.isotonic import IsotonicRegression

from evaluation.reliability import brier_decomposition, group_by_forecast, reliability, reliability_curve, reliable_outcomes
from evaluation.sample import EvaluationSample
from evaluation.scores import brier_score


def sample(seed: int, n: int = 300, digits: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.round(rng.random(n), digits), (rng.random(n) < 0.4).astype(float)


def of_one_model(probability: np.ndarray, outcome: np.ndarray, horizon: int = 60) -> EvaluationSample:
    days = pd.date_range("2018-01-07", periods=len(outcome), freq="W-SUN")
    return EvaluationSample(horizon, days, {"model": probability}, outcome)


@given(st.integers(0, 2**32 - 1), st.integers(1, 120), st.sampled_from([1, 2, 8]))
def test_parts_add_up_to_the_brier_score(seed: int, n: int, digits: int) -> None:
    probability, outcome = sample(seed, n, digits)
    miscalibration, discrimination, uncertainty = brier_decomposition(probability, outcome)
    assert miscalibration - discrimination + uncertainty == pytest.approx(brier_score(probability, outcome), abs=1e-12)
    assert min(miscalibration, discrimination, uncertainty) > -1e-12


def test_parts_worked_by_hand() -> None:
    probability, outcome = np.array([0.8, 0.2, 0.6, 0.4]), np.array([1.0, 0.0, 0.0, 1.0])
    np.testing.assert_allclose(group_by_forecast(probability).recalibrated(np.array([0, 1, 0, 1.0])), [0, 0.5, 0.5, 1])
    assert brier_decomposition(probability, outcome) == pytest.approx((0.2 - 0.125, 0.25 - 0.125, 0.25))


@pytest.mark.parametrize("digits", [1, 2, 8])
def test_parts_are_those_of_model_diagnostics(digits: int) -> None:
    probability, outcome = sample(4, 347, digits)
    theirs = decompose(outcome, probability, scoring_function=SquaredError())
    expected = [theirs[name][0] for name in ("miscalibration", "discrimination", "uncertainty")]
    np.testing.assert_allclose(brier_decomposition(probability, outcome), expected, rtol=0, atol=1e-12)


def test_recalibration_is_scikit_learns_isotonic_regression() -> None:
    probability, outcome = sample(5)
    grouped = group_by_forecast(probability)
    expected = IsotonicRegression().fit(probability, outcome).predict(grouped.forecast)
    np.testing.assert_allclose(grouped.recalibrated(grouped.means(outcome)), expected, rtol=0, atol=1e-12)


def test_a_forecast_of_the_share_itself_is_not_miscalibrated() -> None:
    probability, outcome = np.repeat([0.25, 0.75], 4), np.array([0, 1, 0, 0, 1, 1, 1, 0.0])
    assert brier_decomposition(probability, outcome) == pytest.approx((0, 0.0625, 0.25), abs=1e-15)


def test_outcomes_drawn_come_as_often_as_forecast_and_hang_together_as_far_as_the_horizon() -> None:
    weeks = np.arange(40)
    drawn = reliable_outcomes(np.linspace(0.1, 0.9, 40), weeks, 60, 20_000, 1)
    np.testing.assert_allclose(drawn.mean(axis=0), np.linspace(0.1, 0.9, 40), atol=0.02)
    together = np.corrcoef(reliable_outcomes(np.full(40, 0.5), weeks, 60, 20_000, 2).T)
    assert together[0, 1] == pytest.approx(2 / np.pi * np.arcsin(8 / 9), abs=0.02)
    assert abs(together[0, 9]) < 0.02


def test_weeks_left_out_keep_their_distance() -> None:
    whole = reliable_outcomes(np.full(20, 0.4), np.arange(20), 30, 50, 3)
    gap = reliable_outcomes(np.full(15, 0.4), np.delete(np.arange(20), [4, 5, 6, 7, 8]), 30, 50, 3)
    np.testing.assert_array_equal(gap, np.delete(whole, [4, 5, 6, 7, 8], axis=1))


def overlapping(seed: int, n: int = 240) -> EvaluationSample:
    """A walk known to rise over the next 9 weeks by more than a bar with exactly the probability forecast."""
    rng = np.random.default_rng(seed)
    ahead = np.convolve(rng.normal(size=n + 8), np.ones(9), mode="valid")
    bar = 3 * np.sin(np.arange(n) / 11) + rng.normal(size=n)
    return of_one_model(norm.sf(bar / 3), (ahead > bar).astype(float))


def test_the_band_holds_nine_of_ten_points_of_a_reliable_forecaster() -> None:
    inside = []
    for seed in range(60):
        curve = reliability_curve(overlapping(seed), "model", seed=99, draws=200)
        inside.append(((curve.low <= curve.share) & (curve.share <= curve.high)).mean())
    assert 0.84 < np.mean(inside) < 0.95


def test_chance_is_named_and_bold_forecasts_are_caught() -> None:
    found = overlapping(5)
    parts = reliability(found, "model", seed=1)
    assert 0 < parts.by_chance < parts.by_chance_high
    bold = of_one_model(np.where(found.probabilities["model"] > 0.5, 0.01, 0.99), found.outcome)
    caught = reliability(bold, "model", seed=1)
    assert caught.miscalibration > 5 * caught.by_chance_high


def test_bands_are_the_same_each_time() -> None:
    first, second = (reliability_curve(overlapping(1), "model", seed=3, draws=50) for _ in range(2))
    np.testing.assert_array_equal(first.low, second.low)


def test_without_outcomes_parts_are_missing_and_there_is_no_curve() -> None:
    none = of_one_model(np.array([]), np.array([]))
    assert np.isnan(reliability(none, "model", seed=1).miscalibration)
    with pytest.raises(ValueError, match="nothing to compare"):
        reliability_curve(none, "model", seed=1)
