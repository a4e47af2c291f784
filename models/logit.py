"""Ridge logit, one a horizon."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from core.arrays import Floats
from models.base import OVERLAP, BatchedModel, linear_predictor
from models.ridge_newton import INTERCEPT_PENALTY, ridge_logit

HARDLY = 1e-12
"""An input whose variance is below this share of its mean square is a constant, give or take rounding."""


class RidgeLogit(BatchedModel):
    """logit P_k = a_k + x·b_k, fitted horizon by horizon on the rows whose outcome by k is known.

    The ridge is that of the hazard: prior standard deviation of a slope `prior_sd`, about `overlap` neighbouring rows counted as
    one, penalty overlap / prior_sd². Inputs are taken as they are, or with `standardise` in standard deviations of the training
    rows.
    """

    def __init__(self, prior_sd: float = 0.3, overlap: float = OVERLAP, standardise: bool = False, ordered: bool = True) -> None:
        self.prior_sd = prior_sd
        self.overlap = overlap
        self.standardise = standardise
        self.ordered = ordered

    @property
    def intercept_(self) -> Floats:
        """Log-odds at x = 0, (K,)."""
        return self._learnt().reshape(self.n_outputs_, -1)[:, 0]

    @property
    def coef_(self) -> Floats:
        """Slopes (K, p), for inputs as given."""
        return self._learnt().reshape(self.n_outputs_, -1)[:, 1:]

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats, start: Floats | None = None) -> Floats:
        ridge = Ridge(self.overlap / self.prior_sd**2, self.standardise)
        return logit_a_horizon(lambda k: inputs, outcomes, weights, ridge, start)

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        return expit(lines_a_horizon(inputs, parameters))


@dataclass(frozen=True)
class Ridge:
    """The penalty on each squared slope: per unit of the input, or with `standardise` per standard deviation of it."""

    strength: float
    standardise: bool


def logit_a_horizon(
    inputs_of: Callable[[int], Floats], outcomes: Floats, weights: Floats, ridge: Ridge, start: Floats | None
) -> Floats:
    """Intercepts and slopes (B, K · (1 + p)), horizon by horizon: `inputs_of(k)` are its inputs, `start` is near the answer."""
    K = outcomes.shape[-1]
    near = [None] * K if start is None else np.split(start, K, axis=1)
    return np.hstack([logit_of_known(inputs_of(k), outcomes[..., k], weights, ridge, near[k]) for k in range(K)])


def lines_a_horizon(inputs: Floats, parameters: Floats) -> Floats:
    """a_k + x·b_k of every row (B, n, K) for intercepts and slopes (B, K · (1 + p)) as `logit_a_horizon` lays them out."""
    horizons = parameters.reshape(len(parameters), -1, inputs.shape[-1] + 1).swapaxes(0, 1)
    return np.stack([coefficients[:, :1] + linear_predictor(inputs, coefficients[:, 1:]) for coefficients in horizons], axis=-1)


def logit_of_known(inputs: Floats, outcome: Floats, weights: Floats, ridge: Ridge, start: Floats | None) -> Floats:
    """Intercept and slopes (B, 1 + p) fitted on the rows whose outcome (n,), or (B, n), is known.

    The penalty is scaled by the weighting's own variances instead of the inputs, so that all weightings share one matrix.
    """
    known = ~np.isnan(outcome if outcome.ndim == 1 else outcome[0])
    used, weightings = inputs[..., known, :], weights[:, known]
    scale = variances(used, weightings) if ridge.standardise else np.ones((len(weights), inputs.shape[-1]))
    penalty = np.column_stack([np.full(len(weights), INTERCEPT_PENALTY), ridge.strength * scale])
    ones = np.ones((used.shape[-2], 1))
    design, own_columns = (ones, used) if used.ndim == 3 else (np.hstack([ones, used]), None)
    return ridge_logit(design, outcome[..., known], weightings, penalty, own=own_columns, start=start)


def variances(inputs: Floats, weights: Floats) -> Floats:
    """Weighted variance (B, p) of each input; 1 where it hardly varies, or where all weights are zero."""
    total = np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    centred = inputs - inputs.mean(axis=0)
    variance = weights @ centred**2 / total - (weights @ centred / total) ** 2
    return np.where(variance > HARDLY * (inputs**2).mean(axis=0), variance, 1)
