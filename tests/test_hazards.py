"""The hazard's relatives: what each knows beforehand, and what is left to learn."""

import numpy as np
import pytest
from models.hazard_beyond_volatility import HazardBeyondVolatility
from models.hazard_signed import SignedHazard
from scipy.special import expit, logit

from models.hazard import Hazard
from models.random_walk import RandomWalk

RNG = np.random.default_rng(3)
N = 400
X = RNG.normal(size=(N, 3))
SIGMA = RNG.uniform(0.02, 0.08, N)


def nested(probability: np.ndarray) -> np.ndarray:
    """Outcomes (n, K) of first passages with these hazards (n, K)."""
    come = RNG.random(probability.shape) < probability
    return np.maximum.accumulate(come, axis=1).astype(float)


def test_with_little_to_learn_from_slopes_stay_at_their_prior() -> None:
    few = nested(np.full((6, 3), 0.4))
    signed, plain = SignedHazard().fit(X[:6], few), Hazard().fit(X[:6], few)
    np.testing.assert_allclose(signed.coef_, 0.15, atol=0.05)
    np.testing.assert_allclose(plain.coef_, 0.0, atol=0.05)


def test_with_much_to_learn_from_the_prior_hardly_matters() -> None:
    slopes = np.array([0.8, -0.8, 0.0])
    many = np.tile(X, (60, 1))
    outcomes = nested(expit(-1 + many @ slopes)[:, None].repeat(3, axis=1))
    np.testing.assert_allclose(SignedHazard().fit(many, outcomes).coef_, slopes, atol=0.1)


def test_a_prior_mean_of_zero_is_the_hazard() -> None:
    outcomes = nested(np.full((N, 3), 0.3))
    same = SignedHazard(prior_mean=0.0).fit(X, outcomes)
    np.testing.assert_allclose(same.predict(X), Hazard().fit(X, outcomes).predict(X), rtol=0, atol=1e-12)


def test_where_volatility_is_all_there_is_its_odds_are_kept() -> None:
    rows, sigma = np.tile(X, (100, 1)), np.tile(SIGMA, 100)
    walk = RandomWalk().fit(sigma[:, None], np.tile([0.0, 1.0, 1.0], (len(sigma), 1))).predict(sigma[:, None])
    draws = RNG.random(len(sigma))[:, None]
    outcomes = (draws < walk).astype(float)
    model = HazardBeyondVolatility().fit(np.column_stack([rows, sigma]), outcomes)
    np.testing.assert_allclose(model.predict(np.column_stack([X, SIGMA])), walk[:N], atol=0.03)
    np.testing.assert_allclose(model.coef_, 0, atol=0.05)


def test_its_first_interval_begins_at_the_random_walks_odds() -> None:
    outcomes = nested(np.full((N, 3), 0.3))
    model = HazardBeyondVolatility(prior_sd=1e-6).fit(np.column_stack([X, SIGMA]), outcomes)
    walk = RandomWalk().fit(SIGMA[:, None], outcomes).predict(SIGMA[:, None])[:, 0]
    learnt = logit(model.predict(np.column_stack([X, SIGMA]))[:, 0]) - logit(walk)
    assert np.ptp(learnt) < 1e-4


@pytest.mark.parametrize("sigma", [0.0, np.nan])
def test_without_volatility_climatology_answers(sigma: float) -> None:
    outcomes = nested(np.full((N, 3), 0.3))
    model = HazardBeyondVolatility().fit(np.column_stack([X, SIGMA]), outcomes)
    np.testing.assert_allclose(model.predict([[0.0, 0.0, 0.0, sigma]])[0], np.maximum.accumulate(outcomes.mean(axis=0)))
