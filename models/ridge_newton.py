"""Ridge logistic regression for many weightings of the same rows at once, by Newton's method.

One small linear solve and a handful of matrix products serve hundreds of bootstrap refits or rotated outcomes: the Hessians of
all of them are one product of (weightings x rows) with the rows' outer products.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats
from models.parallel import one_thread

INTERCEPT_PENALTY = 1e-3
"""Keeps the intercept of a sample without a single event finite (P near 0.00002); it moves an ordinary one by about 0.00001."""

LARGEST_MOVE = 1.5
"""No step moves a row's log-odds further. Up to 1.79 a Newton step can't overshoot: the logistic loss is self-concordant (Bach,
"Self-concordant analysis for logistic regression", Electronic Journal of Statistics 4, 2010), so no line search is needed."""

PART = 128_000
"""Cells (problems × rows) computed at a time: about a megabyte, which stays in the processor's caches."""

NO_MAXIMUM = "The logit has no finite maximum: give every coefficient a penalty."


@dataclass(frozen=True)
class SharedRows:
    """Rows X (n, p) that all B problems share; `spread` (n, p(p+1)/2) are their outer products."""

    X: Floats
    spread: Floats

    def of(self, problems: slice | NDArray[np.intp]) -> "SharedRows":
        """The rows of some problems."""
        return self

    def log_odds(self, beta: Floats) -> Floats:
        """Log-odds (B, n) for coefficients (B, p)."""
        return beta @ self.X.T

    def gradient(self, values: Floats) -> Floats:
        """Σ over rows of values (B, n) times the row, (B, p)."""
        return values @ self.X

    def curvature(self, weights: Floats) -> Floats:
        """Σ over rows of weights (B, n) times the row's outer product, (B, p, p)."""
        return symmetric_matrices(weights @ self.spread, self.X.shape[1])


@dataclass(frozen=True)
class OwnRows:
    """Rows whose first columns all problems share, `shared` (n, q), and whose others each problem has for itself, `own` (p, B, n).

    Matrices this narrow are quicker column by column than as B small matrix products.
    """

    shared: Floats
    own: Floats

    def of(self, problems: slice | NDArray[np.intp]) -> "OwnRows":
        """The rows of some problems."""
        return OwnRows(self.shared, self.own[:, problems])

    def log_odds(self, beta: Floats) -> Floats:
        """As for shared rows."""
        q = self.shared.shape[1]
        total = beta[:, :q] @ self.shared.T
        for column, slope in zip(self.own, beta.T[q:], strict=True):
            total += slope[:, None] * column
        return total

    def gradient(self, values: Floats) -> Floats:
        """As for shared rows."""
        return np.column_stack([values @ self.shared, *(np.einsum("bn,bn->b", values, column) for column in self.own)])

    def curvature(self, weights: Floats) -> Floats:
        """As for shared rows."""
        q = self.shared.shape[1]
        size = q + len(self.own)
        matrices = np.empty((len(weights), size, size))
        matrices[:, :q, :q] = symmetric_matrices(weights @ outer_products(self.shared), q)
        for i, column in enumerate(self.own):
            weighted = weights * column
            matrices[:, q + i, :q] = matrices[:, :q, q + i] = weighted @ self.shared
            for j, other in enumerate(self.own[: i + 1]):
                matrices[:, q + i, q + j] = matrices[:, q + j, q + i] = np.einsum("bn,bn->b", weighted, other)
        return matrices


def ridge_logit(
    X: Floats,
    y: Floats,
    weights: Floats,
    penalty: Floats,
    *,
    own: Floats | None = None,
    offset: Floats | float = 0.0,
    start: Floats | None = None,
    tolerance: float = 1e-7,
    max_iterations: int = 500,
) -> Floats:
    """Coefficients that maximise Σ wᵢ [yᵢ ηᵢ − ln(1 + exp ηᵢ)] − ½ Σ penaltyⱼ βⱼ², with η = offset + Xβ, for each of B problems.

    Args: X (n, p), a column of ones where an intercept is wanted; y (n,) or (B, n) between 0 and 1; weights (B, n), 0 leaves a row
    out; penalty (p,) or (B, p), 0 leaves a coefficient free; own (B, n, r): r more columns, of which each problem has its own, with
    coefficients and penalties after the others; offset: log-odds (n,) or (B, n) known beforehand; start (p,) or (B, p), else the
    solution of all problems pooled (zero with columns of their own); tolerance: largest last Newton step, against 1 or the largest
    coefficient; what is left after it is about its square.
    Returns (B, p). The same as scikit-learn's LogisticRegression with C = 1 / penalty.
    Raises ArithmeticError where an unpenalised direction has no finite maximum (separable or empty problems).
    """
    with one_thread():
        if own is None:
            first = pooled_start(X, y, weights, penalty, offset) if start is None else start
            rows: SharedRows | OwnRows = SharedRows(X, outer_products(X))
        else:
            first = np.zeros(penalty.shape[-1]) if start is None else start
            rows = OwnRows(X, np.ascontiguousarray(np.moveaxis(own, 2, 0)))
        return newton_in_parts(rows, y, weights, penalty, offset, first, tolerance, max_iterations)


def newton_in_parts(
    rows: SharedRows | OwnRows,
    y: Floats,
    weights: Floats,
    penalty: Floats,
    offset: Floats | float,
    first: Floats,
    tolerance: float,
    max_iterations: int,
) -> Floats:
    """`newton_steps` from `first` (p,) or (B, p), some problems at a time."""
    B, n = weights.shape
    y, offset = (np.broadcast_to(values, (B, n)) for values in (y, offset))
    penalty, beta = np.broadcast_to(penalty, (B, penalty.shape[-1])), broadcast_problems(first, B)
    problems_a_part = max(1, PART // max(1, n))
    for part in (slice(begin, begin + problems_a_part) for begin in range(0, B, problems_a_part)):
        problem = y[part], weights[part], penalty[part], offset[part], beta[part]
        beta[part] = newton_steps(rows.of(part), *problem, tolerance, max_iterations)
    return beta


def newton_steps(
    rows: SharedRows | OwnRows,
    y: Floats,
    weights: Floats,
    penalty: Floats,
    offset: Floats,
    beta: Floats,
    tolerance: float,
    max_iterations: int,
) -> Floats:
    """Newton steps from `beta` (B, p) until the last steps are small; converged problems wait for the others."""
    ridge = np.eye(beta.shape[1]) * penalty[..., None]
    eta = rows.log_odds(beta) + offset
    for _ in range(max_iterations):
        probability = logistic(eta)
        residual = y - probability
        residual *= weights
        slope = rows.gradient(residual) - penalty * beta
        np.subtract(1, probability, out=residual)
        residual *= weights
        step = solve(rows.curvature(np.multiply(probability, residual, out=residual)) + ridge, slope)
        done = np.abs(step).max(axis=1) <= tolerance * np.maximum(1, np.abs(beta).max(axis=1))
        if done.all():
            return beta + step
        step[done] = 0
        move = rows.log_odds(step)
        damping = LARGEST_MOVE / np.maximum(LARGEST_MOVE, np.maximum(move.max(axis=1), -move.min(axis=1)))[:, None]
        beta = beta + damping * step
        eta += np.multiply(damping, move, out=move)
    raise ArithmeticError(NO_MAXIMUM)


def pooled_start(X: Floats, y: Floats, weights: Floats, penalty: Floats, offset: Floats | float) -> Floats:
    """A start (p,) near all solutions: that of the mean weights, with the mean outcome and offset of each row."""
    zeros = np.zeros(X.shape[1])
    if len(weights) == 1:
        return zeros
    total = weights.sum(axis=0)
    share = np.divide((weights * y).sum(axis=0), total, out=np.zeros(len(X)), where=total > 0)
    middle = np.atleast_2d(offset).mean(axis=0)
    ridge, mean = broadcast_problems(penalty, len(weights)).mean(axis=0), total[None] / len(weights)
    return ridge_logit(X, share, mean, ridge, offset=middle, start=zeros, tolerance=1e-3)[0]


def broadcast_problems(values: Floats, problems: int) -> Floats:
    """A copy of values (p,) or (B, p) as (B, p)."""
    return np.array(np.broadcast_to(values, (problems, values.shape[-1])), dtype=np.float64)


def logistic(eta: Floats) -> Floats:
    """1 / (1 + exp(−η)); far below zero the exponential overflows to infinity and the answer is the right one, 0."""
    result = np.negative(eta)
    with np.errstate(over="ignore"):
        np.exp(result, out=result)
    result += 1
    return np.reciprocal(result, out=result)


def outer_products(X: Floats) -> Floats:
    """Upper triangle of each row's outer product with itself, (n, p(p+1)/2)."""
    left, right = np.triu_indices(X.shape[1])
    return X[:, left] * X[:, right]


def symmetric_matrices(triangles: Floats, size: int) -> Floats:
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
