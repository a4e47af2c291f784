"""Contributions to a forecast: they add up, and they are Shapley's."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from models.boosted import Boosted
from models.hazard import Hazard
from models.shapley import shapley

PAIRS = [[0, 1], [2], [3, 4], [5]]


def crossed(rows: np.ndarray) -> np.ndarray:
    """A forecast with interactions, for two horizons."""
    log_odds = rows[:, 0] * rows[:, 2] + rows[:, 1] - 0.5 * rows[:, 3] * rows[:, 4] * rows[:, 5]
    return expit(np.column_stack([log_odds - 1, log_odds]))


def by_definition(x: np.ndarray, reference: np.ndarray, horizon: int) -> np.ndarray:
    """The mean, over all orders, of what each group adds when it moves after those before it."""
    total, orders = np.zeros(len(PAIRS)), list(permutations(range(len(PAIRS))))
    for order in orders:
        here = reference.copy()
        for group in order:
            before = logit(crossed(here[None])[0, horizon])
            here[PAIRS[group]] = x[PAIRS[group]]
            total[group] += logit(crossed(here[None])[0, horizon]) - before
    return total / len(orders)


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(-2, 2), min_size=12, max_size=12), horizon=st.integers(0, 1))
def test_contributions_are_shapleys_and_add_up(values: list[float], horizon: int) -> None:
    x, reference = np.array(values[:6]), np.array(values[6:])
    parts = shapley(crossed, x, reference, PAIRS, horizon=horizon)
    np.testing.assert_allclose(parts, by_definition(x, reference, horizon), atol=1e-9)
    difference = logit(crossed(x[None])[0, horizon]) - logit(crossed(reference[None])[0, horizon])
    assert parts.sum() == pytest.approx(difference, abs=1e-9)


def test_of_a_linear_logit_is_coefficient_times_distance() -> None:
    slopes = np.array([0.5, -1.0, 2.0])
    parts = shapley(
        lambda rows: expit(rows @ slopes)[:, None], np.array([1.0, 1, 1]), np.array([0.0, 0.5, 2]), [[0], [1], [2]], horizon=0
    )
    np.testing.assert_allclose(parts, [0.5, -0.5, -2.0], atol=1e-12)


@pytest.mark.parametrize("model", [Hazard(), Boosted(trees=20, leaf_rows=20)])
def test_of_a_fitted_model_add_up_for_every_horizon(model: Hazard | Boosted) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 6))
    Y = np.maximum.accumulate(rng.uniform(size=(300, 3)) < expit(X.sum(axis=1, keepdims=True) - 1), axis=1).astype(float)
    model.fit(X, Y)
    reference = X.mean(axis=0)
    for horizon in range(3):
        parts = shapley(model.predict, X[0], reference, [[j] for j in range(6)], horizon=horizon)
        ends = logit(model.predict(np.vstack([X[0], reference]))[:, horizon])
        assert parts.sum() == pytest.approx(ends[0] - ends[1], abs=1e-9)


def test_a_group_that_does_not_move_adds_nothing() -> None:
    x = np.array([1.0, 1, 1, 1, 1, 1])
    reference = np.array([0.0, 0, 1, 0, 0, 0])
    assert shapley(crossed, x, reference, PAIRS, horizon=0)[1] == 0


def test_all_mixtures_are_asked_in_one_call() -> None:
    calls = []

    def predict(rows: np.ndarray) -> np.ndarray:
        calls.append(len(rows))
        return crossed(rows)

    shapley(predict, np.ones(6), np.zeros(6), PAIRS, horizon=0)
    assert calls == [16]


def test_certainty_stays_finite() -> None:
    parts = shapley(lambda rows: (rows > 0).astype(float), np.ones(1), np.zeros(1), [[0]], horizon=0)
    assert np.isfinite(parts).all()


@pytest.mark.parametrize("groups", [[[0]], [[0], [0, 1]], [[0], [1], [2]]])
def test_columns_must_be_in_one_group_each(groups: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="exactly one group"):
        shapley(crossed, np.ones(2), np.zeros(2), groups, horizon=0)
