"""Volatility first, then a sceptical tilt: the law with a drift that the composites give."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats
from models.base import OVERLAP, linear_predictor
from models.law import SIGMA_UNCERTAINTY, Question, probability
from models.law_model import require_horizons
from models.parallel import one_thread
from models.ridge_newton import OwnRows, SharedRows, outer_products, symmetric_matrices
from models.volatility import Volatility

YEAR_DAYS = 365.25

CERTAIN = 1e-9
FIT_TOLERANCE, NULL_TOLERANCE = 1e-10, 1e-7
"""How far a slope may be from its mode, in annual Sharpe units: of a fit, and of a refit under a rotation, for its skill."""

LARGEST_STEP, PATIENCE = 0.5, 10
"""No step moves a slope further, in annual Sharpe units; half as far after each `PATIENCE` steps: no search goes to and fro."""

MOST_STEPS = 100
CELLS_AT_ONCE = 64_000
"""Cells (problems × rows) computed together, so that they stay in the processor's caches."""


class Passage(Volatility):
    """The law with tilt λ = x·β for the composites x, all columns but the last, which is σ. A missing composite is read as 0.

    β has a normal prior with mean `prior_mean` and standard deviation `prior_sd`, in annual Sharpe ratios a standard deviation of a
    composite: the declared signs, believed a little. No intercept, no learnt scale. About `overlap` rows count as one. What is
    learnt is β (p,) at the mode of its posterior and its covariance, the upper triangle (p(p+1)/2,), in daily units.
    """

    def __init__(
        self,
        threshold: float = 0.3,
        horizons: tuple[int, ...] = (30, 60, 90),
        terminal: bool = False,
        sigma_uncertainty: float = SIGMA_UNCERTAINTY,
        prior_mean: float = 0.10,
        prior_sd: float = 0.20,
        overlap: float = OVERLAP,
    ) -> None:
        super().__init__(threshold, horizons, terminal, sigma_uncertainty)
        self.prior_mean = prior_mean
        self.prior_sd = prior_sd
        self.overlap = overlap

    @property
    def coef_(self) -> Floats:
        """Slopes (p,) in annual Sharpe ratios a unit of each column but the last."""
        return self._learnt()[: self.n_features_in_ - 1] * np.sqrt(YEAR_DAYS)

    @property
    def coef_covariance_(self) -> Floats:
        """Covariance (p, p) of `coef_` after seeing the data."""
        p = self.n_features_in_ - 1
        return symmetric_matrices(self._learnt()[None, p:], p)[0] * YEAR_DAYS

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats, start: Floats | None = None) -> Floats:
        require_horizons(self.horizons, outcomes)
        columns, sigma = np.nan_to_num(inputs[..., :-1]), self._sigma(inputs)
        p = columns.shape[-1]
        prior = Prior(self.prior_mean / np.sqrt(YEAR_DAYS), YEAR_DAYS / self.prior_sd**2)
        rows = SharedRows(columns, outer_products(columns)) if columns.ndim == 2 else own_rows(columns)
        outcomes, sigma = np.broadcast_to(outcomes, (*weights.shape, len(self.horizons))), np.broadcast_to(sigma, weights.shape)
        some = max(1, CELLS_AT_ONCE // max(1, weights.shape[1]))
        solved = np.empty((len(weights), p + p * (p + 1) // 2))
        with one_thread():
            for part in (slice(begin, begin + some) for begin in range(0, len(weights), some)):
                cells = cells_of(outcomes[part], weights[part] / self.overlap, terminal=self.terminal)
                near = np.full((len(weights[part]), p), prior.mean) if start is None else start[part, :p]
                sample = Sample(rows.of(part), sigma[part], self.question, cells)
                solved[part] = posterior(sample, prior, near, FIT_TOLERANCE if start is None else NULL_TOLERANCE)
        return solved

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        return self.answer_at(self._sigma(inputs), self._tilt(inputs, parameters))

    def _tilt(self, inputs: Floats, parameters: Floats) -> Floats:
        return linear_predictor(inputs[..., :-1], parameters[:, : inputs.shape[-1] - 1])

    def _sd(self, inputs: Floats, parameters: Floats) -> Floats:
        columns = inputs[:, :-1]
        covariance = symmetric_matrices(parameters[None, columns.shape[1] :], columns.shape[1])[0]
        tilt_sd = np.sqrt(np.einsum("np,pq,nq->n", columns, covariance, columns))
        return self.sd_at(self._sigma(inputs), self._tilt(inputs, parameters[None])[0], tilt_sd)


@dataclass(frozen=True)
class Prior:
    """Of every slope, in daily units: its mean and precision."""

    mean: float
    precision: float


@dataclass(frozen=True)
class Cells:
    """By horizon, for b problems: the outcome `event` (b, n) and its `weight` (b, n), 0 where it takes no part.

    Of a first passage an event is that it comes in the interval that ends with the horizon, given that it hasn't come before.
    """

    event: list[Floats]
    weight: list[Floats]
    nested: bool


@dataclass(frozen=True)
class Sample:
    """Training sample of b problems: the columns of the rows, their volatility (b, n), the question, and the cells."""

    rows: SharedRows | OwnRows
    sigma: Floats
    question: Question
    cells: Cells

    def of(self, problems: NDArray[np.intp]) -> "Sample":
        """Sample of some of the problems."""
        event, weight = ([part[problems] for part in parts] for parts in (self.cells.event, self.cells.weight))
        return Sample(self.rows.of(problems), self.sigma[problems], self.question, Cells(event, weight, self.cells.nested))


def own_rows(columns: Floats) -> OwnRows:
    """Columns (B, n, p) that each problem has for itself."""
    return OwnRows(np.empty((columns.shape[1], 0)), np.ascontiguousarray(np.moveaxis(columns, 2, 0)))


def cells_of(outcomes: Floats, weights: Floats, *, terminal: bool) -> Cells:
    """The cells of outcomes (b, n, K) under weightings (b, n)."""
    event = [np.nan_to_num(outcomes[..., k]) for k in range(outcomes.shape[-1])]
    known = [np.isfinite(outcomes[..., k]) for k in range(outcomes.shape[-1])]
    if terminal:  # K looks at one path
        return Cells(event, [weights * there / len(known) for there in known], nested=False)
    waiting = [np.ones(weights.shape, dtype=bool), *(outcomes[..., k] == 0 for k in range(outcomes.shape[-1] - 1))]
    return Cells(event, [weights * (there & still) for there, still in zip(known, waiting, strict=True)], nested=True)


def posterior(sample: Sample, prior: Prior, start: Floats, tolerance: float) -> Floats:
    """Mode (p,) and covariance, upper triangle, of the slopes of each of b problems, by Fisher scoring: (b, p + p(p+1)/2).

    start (b, p): where the search begins. Steps shrink by a nearly constant ratio, so the ratio of the last two says how far the
    mode still is; a problem that is nearer than `tolerance`, in annual Sharpe units, leaves the computation.
    """
    p, unsolved, former = start.shape[1], np.arange(len(start)), np.full(len(start), CERTAIN)
    upper = np.triu_indices(p)
    beta, solved = start.copy(), np.empty((len(start), p + len(upper[0])))
    for number in range(MOST_STEPS):
        farthest = LARGEST_STEP * 0.5 ** (number // PATIENCE)
        score, information = likelihood(sample, beta)
        score -= prior.precision * (beta - prior.mean)
        information[:, range(p), range(p)] += prior.precision
        step = np.linalg.solve(information, score[..., None])[..., 0]
        size = np.abs(step).max(axis=1, initial=0.0) * np.sqrt(YEAR_DAYS)
        beta = beta + step * np.minimum(1.0, farthest / np.maximum(size, CERTAIN))[:, None]
        ratio = np.minimum(size / former, 0.5)
        done = size * ratio / (1 - ratio) < tolerance
        solved[unsolved[done]] = np.hstack([beta[done], np.linalg.inv(information[done])[:, upper[0], upper[1]]])
        if done.all():
            return solved
        remaining = np.flatnonzero(~done)
        unsolved, beta, former = unsolved[remaining], beta[remaining], size[remaining]
        sample = sample.of(remaining) if done.any() else sample
    raise ArithmeticError("The slopes of the tilt have no finite maximum: give them a prior.")


def likelihood(sample: Sample, beta: Floats) -> tuple[Floats, Floats]:
    """Gradient (b, p) of the log likelihood at slopes (b, p), and the information (b, p, p) that is expected there."""
    tilt = sample.rows.log_odds(beta)
    question, cells = sample.question, sample.cells
    residual, curvature = np.zeros_like(tilt), np.zeros_like(tilt)
    before, before_slope = np.zeros_like(tilt), np.zeros_like(tilt)
    for days, event, weight in zip(question.horizons, cells.event, cells.weight, strict=True):
        by_then = Question(question.rise, (days,), question.terminal)
        reached, slope = (part[..., 0] for part in probability(sample.sigma, tilt, by_then))
        reached = np.clip(reached, CERTAIN, 1 - CERTAIN)
        survival = 1 - before
        hazard = np.clip((reached - before) / survival, CERTAIN, 1 - CERTAIN)
        hazard_slope = (slope - before_slope) / survival + (reached - before) / survival**2 * before_slope
        share = weight * hazard_slope / (hazard * (1 - hazard))
        residual += share * (event - hazard)
        curvature += share * hazard_slope
        if cells.nested:
            before, before_slope = reached, slope
    return sample.rows.gradient(residual), sample.rows.curvature(curvature)
