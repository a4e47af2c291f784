"""The batched Newton solver against scikit-learn, statsmodels and its own first-order condition."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from models.ridge_newton import INTERCEPT_PENALTY, ridge_logit


def problem(rows: int = 300, columns: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(rows), rng.standard_normal((rows, columns))])
    slopes = np.linspace(-1, 1, columns + 1)
    return X, (rng.uniform(size=rows) < 1 / (1 + np.exp(-X @ slopes))).astype(float)


def gradient(X, y, weights, penalty, beta):
    return (weights * (y - 1 / (1 + np.exp(-X @ beta)))) @ X - penalty * beta


def test_same_coefficients_as_scikit_learn() -> None:
    X, y = problem()
    strength = 7.3
    weights = np.random.default_rng(1).integers(0, 4, size=(3, len(y))).astype(float)
    ours = ridge_logit(X, y, weights, np.array([0.0] + [strength] * 5))
    for beta, row in zip(ours, weights, strict=True):
        theirs = LogisticRegression(C=1 / strength, tol=1e-12, solver="newton-cholesky", max_iter=1000).fit(X[:, 1:], y, row)
        np.testing.assert_allclose(beta, [theirs.intercept_[0], *theirs.coef_[0]], atol=1e-8)


def test_same_coefficients_as_statsmodels_without_penalty() -> None:
    import statsmodels.api as sm

    X, y = problem()
    ours = ridge_logit(X, y, np.ones((1, len(y))), np.zeros(6))
    theirs = sm.GLM(y, X, family=sm.families.Binomial()).fit(tol=1e-14)
    np.testing.assert_allclose(ours[0], theirs.params, atol=1e-8)


def test_hundreds_of_rotated_outcomes_each_meet_their_own_optimum() -> None:
    X, y = problem(seed=2)
    rotated = np.stack([np.roll(y, shift) for shift in range(200)])
    censored = np.random.default_rng(3).integers(0, 2, size=rotated.shape).astype(float)
    penalty = np.array([INTERCEPT_PENALTY] + [10.0] * 5)
    for beta, outcome, weights in zip(ridge_logit(X, rotated, censored, penalty), rotated, censored, strict=True):
        assert np.abs(gradient(X, outcome, weights, penalty, beta)).max() < 1e-8


def test_a_batch_answers_as_its_members_alone() -> None:
    X, y = problem()
    weights = np.random.default_rng(4).uniform(size=(5, len(y)))
    penalty = np.full(6, 2.0)
    alone = np.vstack([ridge_logit(X, y, row[None], penalty) for row in weights])
    np.testing.assert_allclose(ridge_logit(X, y, weights, penalty), alone, atol=1e-12)


@pytest.mark.parametrize("start", [8.0, -8.0])
def test_a_far_start_still_arrives(start: float) -> None:
    X, y = problem()
    weights = np.ones((1, len(y)))
    penalty = np.full(6, 1e-3)
    from_far = ridge_logit(X, y, weights, penalty, start=np.full(6, start))
    np.testing.assert_allclose(from_far, ridge_logit(X, y, weights, penalty), atol=1e-9)


def test_rows_of_weight_zero_do_not_matter() -> None:
    X, y = problem()
    weights = np.ones((1, len(y)))
    weights[:, 100:] = 0
    changed = X.copy()
    changed[100:, 1:] = 50
    expected = ridge_logit(X, y, weights, np.ones(6))
    np.testing.assert_allclose(ridge_logit(changed, y, weights, np.ones(6)), expected, rtol=1e-12)


def test_separable_outcomes_stay_finite_under_a_ridge() -> None:
    X = np.column_stack([np.ones(40), np.linspace(-1, 1, 40)])
    beta = ridge_logit(X, (X[:, 1] > 0).astype(float), np.ones((1, 40)), np.array([INTERCEPT_PENALTY, 1.0]))
    assert np.isfinite(beta).all()
    assert beta[0, 1] > 1


def test_no_event_gives_a_tiny_finite_probability() -> None:
    X = np.ones((500, 1))
    beta = ridge_logit(X, np.zeros(500), np.ones((1, 500)), np.array([INTERCEPT_PENALTY]))
    assert 0 < 1 / (1 + np.exp(-beta[0, 0])) < 1e-4


def test_the_intercept_penalty_hardly_moves_an_ordinary_intercept() -> None:
    y = np.r_[np.ones(120), np.zeros(380)]
    beta = ridge_logit(np.ones((500, 1)), y, np.ones((1, 500)), np.array([INTERCEPT_PENALTY]))
    assert beta[0, 0] == pytest.approx(np.log(120 / 380), abs=2e-5)


@pytest.mark.parametrize("y", [np.zeros(20), np.r_[np.zeros(10), np.ones(10)]])
def test_an_unpenalised_direction_without_a_maximum_is_an_error(y: np.ndarray) -> None:
    X = np.column_stack([np.ones(20), np.arange(20.0)])
    with pytest.raises(ArithmeticError, match="penalty"):
        ridge_logit(X, y, np.ones((1, 20)), np.zeros(2))


def test_an_offset_is_that_of_statsmodels() -> None:
    import statsmodels.api as sm

    X, y = problem()
    offset = np.random.default_rng(9).normal(size=len(y))
    ours = ridge_logit(X, y, np.ones((2, len(y))), np.zeros(6), offset=offset)
    theirs = sm.GLM(y, X, family=sm.families.Binomial(), offset=offset).fit(tol=1e-14)
    np.testing.assert_allclose(ours, np.tile(theirs.params, (2, 1)), atol=1e-8)


def test_columns_of_their_own_give_each_problem_what_it_would_get_alone() -> None:
    X, y = problem()
    turned = np.stack([np.roll(X[:, 1:], shift, axis=0) for shift in range(4)])
    penalty = np.array([INTERCEPT_PENALTY] + [3.0] * 5)
    together = ridge_logit(X[:, :1], y, np.ones((4, len(y))), penalty, own=turned)
    alone = [ridge_logit(np.hstack([X[:, :1], own]), y, np.ones((1, len(y))), penalty)[0] for own in turned]
    np.testing.assert_allclose(together, alone, atol=1e-10)
