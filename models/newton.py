"""Ridge logistic regression for many weightings of the same rows at once, by Newton's method.

One small linear solve and a handful of matrix products serve hundreds of bootstrap refits or rotated outcomes: the Hessians of
all of them are one product of (weightings x rows) with the rows' outer products.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.threads import one_thread

Floats = NDArray[np.float64]

INTERCEPT_PENALTY = 1e-3
"""Keeps the intercept of a sample without a single event finite (P near 0.00002); it moves an ordinary one by about 0.00001."""

LARGEST_MOVE = 1.5
"""No step moves a row's log-odds further. Up to 1.79 a Newton step can't overshoot: the logistic loss is self-concordant (Bach,
"Self-concordant analysis for logistic regression", Electronic Journal of Statistics 4, 2010), so no line search is needed."""

NO_MAXIMUM = "The logit has no finite maximum: give every coefficient a penalty."


@dataclass(frozen=True)
class SharedRows:
    """Rows X (n, p) that all B problems share; `spread` (n, p(p+1)/2) are their outer products."""

    X: Floats
    spread: Floats

    def log_odds(self, beta: Floats) -> Floats:
        """(B, n) of coefficients (B, p)."""
        return beta @ self.X.T

    def gathered(self, values: Floats) -> Floats:
        """Σ over rows of values (B, n) times the row, (B, p)."""
        return values @ self.X

    def curvature(self, weights: Floats) -> Floats:
        """Σ over rows of weights (B, n) times the row's outer product, (B, p, p)."""
        return squares(weights @ self.spread, self.X.shape[1])


@dataclass(frozen=True)
class OwnRows:
    """Rows X (B, n, p): each problem has its own."""

    X: Floats

    def log_odds(self, beta: Floats) -> Floats:
        """As for shared rows."""
        return np.matmul(self.X, beta[..., None])[..., 0]

    def gathered(self, values: Floats) -> Floats:
        """As for shared rows."""
        return np.matmul(values[:, None, :], self.X)[:, 0]

    def curvature(self, weights: Floats) -> Floats:
        """As for shared rows."""
        return np.matmul(self.X.transpose(0, 2, 1) * weights[:, None, :], self.X)


def ridge_logit(
    X: Floats,
    y: Floats,
    weights: Floats,
    penalty: Floats,
    *,
    start: Floats | None = None,
    tolerance: float = 1e-10,
    max_iterations: int = 500,
) -> Floats:
    """Coefficients that maximise Σ wᵢ [yᵢ ηᵢ − ln(1 + exp ηᵢ)] − ½ Σ penaltyⱼ βⱼ², with η = Xβ, for each of B problems.

    Args: X (n, p), or (B, n, p) where each problem has rows of its own; a column of ones where an intercept is wanted; y (n,) or
    (B, n) between 0 and 1; weights (B, n), 0 leaves a row out; penalty (p,) or (B, p), 0 leaves a coefficient free; start (p,) or
    (B, p), else the solution of all problems pooled (zero for rows of their own); tolerance: largest last Newton step, against 1 or
    the largest coefficient.
    Returns (B, p). The same as scikit-learn's LogisticRegression with C = 1 / penalty.
    Raises ArithmeticError where an unpenalised direction has no finite maximum (separable or empty problems).
    """
    with one_thread():
        if X.ndim == 3:
            first = np.zeros(X.shape[2]) if start is None else start
            return climb(OwnRows(X), y, weights, penalty, full(first, len(X)), tolerance, max_iterations)
        first = pooled(X, y, weights, penalty) if start is None else start
        rows = SharedRows(X, outer_products(X))
        return climb(rows, y, weights, penalty, full(first, len(weights)), tolerance, max_iterations)


def climb(
    rows: SharedRows | OwnRows,
    y: Floats,
    weights: Floats,
    penalty: Floats,
    beta: Floats,
    tolerance: float,
    max_iterations: int,
) -> Floats:
    """Newton steps from `beta` (B, p) until the last ones are small; problems that have arrived wait for the others."""
    ridge = np.eye(beta.shape[1]) * penalty[..., None]
    eta = rows.log_odds(beta)
    for _ in range(max_iterations):
        probability = logistic(eta)
        slope = rows.gathered(weights * (y - probability)) - penalty * beta
        probability *= weights * (1 - probability)
        step = solve(rows.curvature(probability) + ridge, slope)
        done = np.abs(step).max(axis=1) <= tolerance * np.maximum(1, np.abs(beta).max(axis=1))
        if done.all():
            return beta + step
        step[done] = 0
        move = rows.log_odds(step)
        damping = LARGEST_MOVE / np.maximum(LARGEST_MOVE, np.abs(move).max(axis=1, keepdims=True))
        beta += damping * step
        eta += damping * move
    raise ArithmeticError(NO_MAXIMUM)


def pooled(X: Floats, y: Floats, weights: Floats, penalty: Floats) -> Floats:
    """A start (p,) near all solutions: that of the mean weights, with the mean outcome of each row."""
    zeros = np.zeros(X.shape[1])
    if len(weights) == 1:
        return zeros
    total = weights.sum(axis=0)
    share = np.divide((weights * y).sum(axis=0), total, out=np.zeros(len(X)), where=total > 0)
    return ridge_logit(X, share, total[None] / len(weights), full(penalty, len(weights)).mean(axis=0), start=zeros, tolerance=1e-3)[
        0
    ]


def full(values: Floats, problems: int) -> Floats:
    """(p,) or (B, p) as its own (B, p)."""
    return np.broadcast_to(values, (problems, values.shape[-1])).copy()


def logistic(eta: Floats) -> Floats:
    """1 / (1 + exp(−η)); far below zero the exponential overflows to infinity and the answer is the right one, 0."""
    with np.errstate(over="ignore"):
        result = np.exp(-eta)
        result += 1
        return np.reciprocal(result, out=result)


def outer_products(X: Floats) -> Floats:
    """Upper triangle of each row's outer product with itself, (n, p(p+1)/2)."""
    left, right = np.triu_indices(X.shape[1])
    return X[:, left] * X[:, right]


def squares(triangles: Floats, size: int) -> Floats:
    """(B, p(p+1)/2) upper triangles as (B, p, p) symmetric matrices."""
    left, right = np.triu_indices(size)
    matrices = np.empty((len(triangles), size, size))
    matrices[:, left, right] = triangles
    matrices[:, right, left] = triangles
    return matrices


def solve(curvature: Floats, slope: Floats) -> Floats:
    """Newton steps (B, p)."""
    try:
        return np.asarray(np.linalg.solve(curvature, slope[..., None])[..., 0], dtype=np.float64)
    except np.linalg.LinAlgError:
        raise ArithmeticError(NO_MAXIMUM) from None
