"""The law against simulated paths, closed forms and its own limits; and the models that answer by it."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.special import ndtr

from core.errors import BadInput, Refused
from models.base import HorizonModel
from models.catalog import COMPOSITES, MODELS
from models.hazard import Hazard
from models.law import (
    RISES,
    SIGMA_UNCERTAINTY,
    Question,
    averaged,
    carried_base_rates,
    first_passage,
    median_fall,
    probability,
    quantiles_of_highest,
    slope_by_log_sigma,
    terminal,
)
from models.passage import YEAR_DAYS, Passage
from models.pool import EXPERTS, Pool, earned_weights
from models.random_walk import RandomWalk
from models.volatility import Volatility

THIRTY = Question(0.3, (30, 60, 90))
sigmas = st.floats(0.01, 0.15)
tilts = st.floats(-0.15, 0.15)
rises = st.floats(0.02, 2.0)
days = st.integers(1, 400)


def at(function: object, sigma: float, tilt: float, question: Question) -> np.ndarray:
    """A law at one point, (K,)."""
    return np.asarray(function(np.array([sigma]), np.array([tilt]), question)[0])[0]  # type: ignore[operator]


@pytest.mark.parametrize(("sigma", "tilt"), [(0.03, 0.0), (0.05, 0.05), (0.06, -0.06)])
def test_it_is_the_share_of_simulated_paths(sigma: float, tilt: float) -> None:
    """40,000 paths of daily closes: a share has a standard error of at most 0.0025."""
    steps = sigma * (tilt + np.random.default_rng(1).standard_normal((40_000, 90)))
    path = np.cumsum(steps, axis=1)
    for place, horizon in enumerate(THIRTY.horizons):
        highest = (path[:, :horizon].max(axis=1) >= np.log(1.3)).mean()
        assert at(first_passage, sigma, tilt, THIRTY)[place] == pytest.approx(highest, abs=0.01)
        last = (path[:, horizon - 1] >= np.log(1.3)).mean()
        assert at(terminal, sigma, tilt, THIRTY)[place] == pytest.approx(last, abs=0.01)


@pytest.mark.parametrize(("sigma", "tilt"), [(0.03, 0.0), (0.05, 0.05), (0.06, -0.06)])
def test_the_typical_fall_is_the_median_of_simulated_lows(sigma: float, tilt: float) -> None:
    """20,000 paths, each with its own volatility about the one known."""
    rng = np.random.default_rng(2)
    own = sigma * np.exp(SIGMA_UNCERTAINTY * rng.standard_normal((20_000, 1)))
    lowest = 1 - np.exp(np.cumsum(own * (tilt + rng.standard_normal((20_000, 60))), axis=1).min(axis=1))
    assert median_fall(sigma, tilt, 60) == pytest.approx(float(np.median(lowest)), abs=0.01)


@given(sigma=sigmas, rise=rises, horizon=days)
def test_without_a_tilt_it_is_the_reflection_principle(sigma: float, rise: float, horizon: int) -> None:
    question = Question(rise, (horizon,))
    away = (np.log1p(rise) + 0.5826 * sigma) / (sigma * np.sqrt(horizon))
    assert at(first_passage, sigma, 0.0, question)[0] == pytest.approx(2 * ndtr(-away), abs=1e-14)
    assert at(terminal, sigma, 0.0, question)[0] == pytest.approx(ndtr(-np.log1p(rise) / (sigma * np.sqrt(horizon))), abs=1e-14)


@given(sigma=sigmas, tilt=tilts, rise=rises)
def test_it_rises_with_the_horizon_and_the_tilt_and_falls_with_the_rise(sigma: float, tilt: float, rise: float) -> None:
    horizons = tuple(range(1, 200, 7))
    by_horizon = at(first_passage, sigma, tilt, Question(rise, horizons))
    assert (np.diff(by_horizon) >= -1e-15).all()
    for lower, higher in pairwise(
        [at(first_passage, sigma, lam, Question(rise, (60,)))[0] for lam in (tilt - 0.01, tilt, tilt + 0.01)]
    ):
        assert lower <= higher + 1e-15
    assert (
        at(first_passage, sigma, tilt, Question(rise * 1.1, (60,)))[0] <= at(first_passage, sigma, tilt, Question(rise, (60,)))[0]
    )


@given(sigma=sigmas, rise=rises, horizon=days)
def test_without_a_tilt_it_rises_with_volatility(sigma: float, rise: float, horizon: int) -> None:
    question = Question(rise, (horizon,))
    assert at(first_passage, sigma, 0.0, question)[0] <= at(first_passage, 1.05 * sigma, 0.0, question)[0] + 1e-15


def test_a_price_that_hardly_moves_or_hardly_has_time_gets_nowhere() -> None:
    assert at(first_passage, 1e-4, 0.0, THIRTY) == pytest.approx(0, abs=1e-15)
    assert at(first_passage, 1e-4, 0.1, THIRTY) == pytest.approx(0, abs=1e-15)
    assert at(first_passage, 0.05, 0.0, Question(0.3, (1,)))[0] < 1e-6


@settings(deadline=None)
@given(sigma=sigmas, tilt=tilts, rise=rises, horizon=days, is_terminal=st.booleans())
def test_derivatives_are_those_of_finite_differences(
    sigma: float, tilt: float, rise: float, horizon: int, is_terminal: bool
) -> None:
    question = Question(rise, (horizon,), is_terminal)
    by_tilt = approx_fprime([tilt], lambda x: at(probability, sigma, float(x[0]), question)[0], 1e-7)
    point = probability(np.array([sigma]), np.array([tilt]), question)
    assert point[1][0, 0] == pytest.approx(by_tilt[0], abs=1e-5)
    by_log_sigma = approx_fprime([0.0], lambda x: at(probability, sigma * float(np.exp(x[0])), tilt, question)[0], 1e-7)
    assert slope_by_log_sigma(np.array([sigma]), np.array([tilt]), question)[0, 0] == pytest.approx(by_log_sigma[0], abs=1e-5)


def test_what_is_not_known_of_volatility_is_averaged() -> None:
    draws = 0.05 * np.exp(SIGMA_UNCERTAINTY * np.random.default_rng(2).standard_normal(200_000))
    mean = probability(draws, np.full(200_000, 0.03), THIRTY)[0].mean(axis=0)
    averages = averaged(lambda *point: probability(*point)[0], np.array([0.05]), np.array([0.03]), THIRTY)
    np.testing.assert_allclose(averages[0], mean, atol=0.002)


@given(
    rates=st.lists(st.floats(0.01, 0.9), min_size=3, max_size=3).map(sorted),
    rise=rises,
    horizons=st.lists(days, min_size=2, max_size=4, unique=True).map(sorted),
)
def test_base_rates_carried_to_another_question_keep_its_order(rates: list[float], rise: float, horizons: list[int]) -> None:
    base = np.array(rates)
    moved = carried_base_rates(base, THIRTY, Question(rise, tuple(horizons)), 0.05)
    assert ((moved >= 0) & (moved <= 1)).all()
    assert (np.diff(moved) >= -1e-12).all()
    higher = carried_base_rates(base, THIRTY, Question(1.2 * rise, tuple(horizons)), 0.05)
    assert (higher <= moved + 1e-12).all()


@pytest.mark.parametrize("is_terminal", [False, True])
def test_base_rates_carried_to_their_own_question_stay(is_terminal: bool) -> None:
    base, question = np.array([0.24, 0.39, 0.48]), Question(0.3, (30, 60, 90), is_terminal)
    np.testing.assert_allclose(carried_base_rates(base, question, question, 0.05), base, atol=1e-9)


def test_quantiles_of_the_highest_close_invert_the_curve() -> None:
    exceeded = probability(np.full(len(RISES), 0.05), np.zeros(len(RISES)), Question(0.0, (60,)))[0][:, 0] * 0
    exceeded = np.array([at(first_passage, 0.05, 0.0, Question(float(rise), (60,)))[0] for rise in RISES])
    low, middle, high = quantiles_of_highest(exceeded, RISES, (0.1, 0.5, 0.9))
    assert low < middle < high
    assert at(first_passage, 0.05, 0.0, Question(middle, (60,)))[0] == pytest.approx(0.5, abs=0.002)
    assert quantiles_of_highest(exceeded, RISES, (0.01,)) == [0.0]


# ---------------------------------------------------------------- the models


def rows(seed: int = 0, n: int = 500, tilt: float = 0.0) -> tuple[pd.DataFrame, np.ndarray]:
    """Columns of the pool and outcomes of weekly rows whose price has this annual Sharpe ratio a unit of the first composite."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.standard_normal((n, len(COMPOSITES))), columns=list(COMPOSITES))
    X["blended_volatility"] = 0.05 * np.exp(0.3 * rng.standard_normal(n))
    X["altcoin_volatility"] = X["blended_volatility"] * np.exp(0.1 * rng.standard_normal(n))
    lam = tilt / np.sqrt(YEAR_DAYS) * X[COMPOSITES[0]].to_numpy()
    P = probability(X["blended_volatility"].to_numpy(), lam, THIRTY)[0]
    return X, (rng.uniform(size=n)[:, None] < P).astype(float)


def fitted(name: str, **how: float) -> tuple[HorizonModel, pd.DataFrame]:
    X, Y = rows(**how)
    columns = X[list(MODELS[name].columns)]
    return MODELS[name].make("first_passage", 0.3).fit(columns, Y), columns


LAWFUL = ["volatility", "random_walk", "passage", "pool"]


@pytest.mark.parametrize("name", LAWFUL)
def test_another_question_is_answered_without_training_and_coherently(name: str) -> None:
    model, X = fitted(name)
    own = model.predict(X)
    np.testing.assert_array_equal(model.for_question(0.3, None).predict(X), own)
    np.testing.assert_allclose(model.for_question(0.3, (60,)).predict(X)[:, 0], own[:, 1], atol=1e-9)
    asked = np.stack([model.for_question(rise, (15, 45, 60, 75, 200)).predict(X) for rise in (0.1, 0.3, 0.31, 0.5, 1.0)])
    assert (np.diff(asked, axis=0) <= 1e-12).all()
    assert (np.diff(asked, axis=2) >= -1e-12).all()


@pytest.mark.parametrize("name", LAWFUL)
def test_the_curve_passes_through_the_forecast(name: str) -> None:
    model, X = fitted(name)
    curve = model.curve(X[:3])
    assert curve.shape == (3, len(RISES), 3)
    np.testing.assert_allclose(curve[:, list(RISES).index(0.3)], model.predict(X[:3]), atol=1e-12)


def test_a_model_without_a_law_says_so() -> None:
    with pytest.raises(Refused, match="volatility, random_walk, passage and pool"):
        Hazard().for_question(0.5, None)


@pytest.mark.parametrize(("rise", "horizons"), [(-0.1, None), (np.nan, None), (0.5, (0,))])
def test_what_cannot_be_asked_is_refused(rise: float, horizons: tuple[int, ...] | None) -> None:
    model, _ = fitted("pool")
    with pytest.raises(BadInput):
        model.for_question(rise, horizons)


@pytest.mark.parametrize("name", LAWFUL)
def test_intervals_hold_the_probability_and_widen_with_coverage(name: str) -> None:
    model, X = fitted(name)
    P = model.predict(X)
    low, high = model.interval(X)
    assert ((low <= P) & (high >= P) & (low >= 0) & (high <= 1)).all()
    assert (np.diff(low, axis=1) >= 0).all()
    assert (np.diff(high, axis=1) >= 0).all()
    wider = model.interval(X, coverage=0.99)
    assert ((wider[0] <= low) & (wider[1] >= high)).all()


def test_the_interval_of_volatility_is_that_of_an_uncertain_volatility() -> None:
    """Small P: the probit of P moves almost linearly with ln σ, so the limits are P at σ a quantile away."""
    model = Volatility().fit(np.full((4, 1), 0.05), np.tile([0.0, 1.0, 1.0], (4, 1)))
    low, high = model.interval([[0.05]])
    reach = 1.645 * SIGMA_UNCERTAINTY
    ends = [probability(np.array([0.05 * np.exp(sign * reach)]), np.zeros(1), THIRTY)[0][0] for sign in (-1, 1)]
    np.testing.assert_allclose([low[0], high[0]], ends, atol=0.04)


def test_the_posterior_of_the_slopes_covers_the_truth() -> None:
    """90 % limits of the first slope over 60 samples with independent rows: at least 80 % hold the truth."""
    inside = []
    for seed in range(60):
        X, Y = rows(seed=seed, n=400, tilt=0.3)
        model = Passage(overlap=1.0).fit(X[[*COMPOSITES, "blended_volatility"]], Y)
        sd = np.sqrt(model.coef_covariance_[0, 0])
        inside.append(abs(model.coef_[0] - 0.3) < 1.645 * sd)
    assert np.mean(inside) >= 0.8


def test_with_little_to_learn_from_slopes_stay_at_their_prior() -> None:
    X, Y = rows(n=6)
    model = Passage().fit(X[[*COMPOSITES, "blended_volatility"]], Y)
    np.testing.assert_allclose(model.coef_, 0.10, atol=0.03)
    np.testing.assert_allclose(np.sqrt(np.diag(model.coef_covariance_)), 0.20, atol=0.01)


def test_slopes_are_the_maximum_of_the_penalised_likelihood() -> None:
    from scipy.optimize import minimize

    X, Y = rows(n=200, tilt=0.4)
    columns, sigma = X[list(COMPOSITES)].to_numpy(), X["blended_volatility"].to_numpy()

    def loss(annual: np.ndarray) -> float:
        beta = annual / np.sqrt(YEAR_DAYS)
        P = np.column_stack([np.zeros(len(Y)), probability(sigma, columns @ beta, THIRTY)[0], np.ones(len(Y))])
        came = np.column_stack([np.zeros(len(Y)), Y, np.ones(len(Y))]).argmax(axis=1)  # the interval of first passage
        likelihood = np.log(np.take_along_axis(np.diff(P, axis=1), came[:, None] - 1, axis=1)).sum()
        return float(-likelihood * 7 / 60 + ((annual - 0.10) ** 2).sum() / (2 * 0.20**2))

    best = minimize(loss, np.full(6, 0.10), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12, "maxiter": 20_000})
    model = Passage().fit(X[[*COMPOSITES, "blended_volatility"]], Y)
    np.testing.assert_allclose(model.coef_, best.x, atol=1e-4)


def test_a_missing_composite_is_read_as_0_and_a_missing_volatility_as_the_base_rate() -> None:
    model, X = fitted("passage")
    blank = X.iloc[:2].copy()
    blank["breadth"] = np.nan
    np.testing.assert_array_equal(model.predict(blank), model.predict(blank.fillna({"breadth": 0.0})))
    blank["blended_volatility"] = [0.0, np.nan]
    np.testing.assert_allclose(model.predict(blank), np.tile(model.base_rates_, (2, 1)))


def test_without_composites_nothing_tilts_and_the_pool_is_its_experts_at_no_tilt() -> None:
    model, X = fitted("pool", tilt=0.5)
    blank = X.assign(**dict.fromkeys(COMPOSITES, np.nan))
    still = Volatility().fit(blank[["blended_volatility"]], rows()[1]).predict(blank[["blended_volatility"]])
    walk = RandomWalk().fit(blank[["altcoin_volatility"]], rows()[1]).predict(blank[["altcoin_volatility"]])
    weight = dict(zip(EXPERTS, model.weights_, strict=True))
    expected = (weight["passage"] + weight["volatility"]) * still + weight["random_walk"] * walk
    expected += weight["climatology"] * model.base_rates_
    np.testing.assert_allclose(model.predict(blank), expected, rtol=0, atol=1e-12)


def test_experts_earn_weight_by_what_was_known_of_their_forecasts() -> None:
    """Two rows a year apart. By hand: passage says 0.9, the others 0.5, the event came; one horizon of 30 days counts 7/30."""
    experts = np.full((4, 2, 1), 0.5)
    experts[0] = 0.9
    outcomes = np.array([[1.0], [np.nan]])
    stamps = pd.DatetimeIndex(["2020-01-05", "2021-01-05"])
    known = (stamps + pd.Timedelta(days=31)).to_numpy()[:, None]
    at_once, later = earned_weights(experts, outcomes, known, stamps.to_numpy(), (30,))
    np.testing.assert_allclose(at_once, list(EXPERTS.values()))
    age = (stamps[1] - pd.Timestamp(known[0, 0])).days / YEAR_DAYS
    share = 7 / 30 * 0.5 ** (age / 4)
    raw = np.array(list(EXPERTS.values())) * np.exp([share * np.log(0.9), *[share * np.log(0.5)] * 3])
    np.testing.assert_allclose(later, raw / raw.sum())


def test_an_outcome_weighs_only_once_it_is_known() -> None:
    rng = np.random.default_rng(3)
    stamps = pd.date_range("2020-01-05", periods=80, freq="W")
    known = np.stack([(stamps + pd.Timedelta(days=horizon + 1)).to_numpy() for horizon in (30, 60, 90)], axis=1)
    experts, outcomes = rng.uniform(0.1, 0.9, (4, 80, 3)), (rng.uniform(size=(80, 3)) < 0.5).astype(float)
    weights = earned_weights(experts, outcomes, known, stamps.to_numpy(), (30, 60, 90))
    for day in (20, 40, 79):
        hidden = np.where(known <= stamps.to_numpy()[day], outcomes, 1 - outcomes)
        np.testing.assert_array_equal(earned_weights(experts, hidden, known, stamps.to_numpy(), (30, 60, 90))[day], weights[day])


def test_a_pool_stands_at_the_weights_of_the_day() -> None:
    model, X = fitted("pool")
    stamps = pd.DatetimeIndex(["2024-01-07", "2024-01-14"])
    table = np.array([[1.0, 0, 0, 0], [0, 0, 0, 1.0]])
    followed = model.with_record(stamps, table)
    np.testing.assert_allclose(followed.at(pd.Timestamp("2024-01-10")).predict(X), model.experts(X)[0])
    np.testing.assert_allclose(followed.at(pd.Timestamp("2024-02-01")).predict(X), np.tile(model.base_rates_, (len(X), 1)))
    np.testing.assert_allclose(followed.at(pd.Timestamp("2023-01-01")).predict(X), model.experts(X)[0])
    np.testing.assert_array_equal(followed.predict(X), followed.at(stamps[-1]).predict(X))


def test_a_terminal_pool_needs_no_order_and_answers_losses_too() -> None:
    X, Y = rows()
    model = Pool(0.2, (30, 60, 90), terminal=True).fit(X, Y[:, ::-1])
    other = model.for_question(-0.2, (45,))
    assert ((other.predict(X) > 0) & (other.predict(X) < 1)).all()
    assert (other.predict(X) >= model.for_question(0.2, (45,)).predict(X)).all()


def test_wrong_signs_cost_little_because_the_prior_gives_way() -> None:
    """Where the truth is the opposite of the prior, many rows turn the slope round."""
    X, Y = rows(n=3000, tilt=-1.0)
    model = Passage().fit(X[[*COMPOSITES, "blended_volatility"]], Y)
    assert model.coef_[0] < -0.3
