"""Ridge logit, one a horizon."""

import numpy as np
from scipy.special import expit

from models.base import BatchedModel, Floats, linear
from models.hazard import OVERLAP
from models.newton import INTERCEPT_PENALTY, ridge_logit

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

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats) -> Floats:
        strength = self.overlap / self.prior_sd**2
        return np.hstack([logit_of_known(inputs, y, weights, strength, standardise=self.standardise) for y in outcomes.T])

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        horizons = parameters.reshape(-1, inputs.shape[1] + 1)
        log_odds = horizons[:, :1] + linear(inputs, horizons[:, 1:])
        return expit(log_odds).reshape(len(parameters), -1, len(inputs)).swapaxes(1, 2)


def logit_of_known(inputs: Floats, outcome: Floats, weights: Floats, strength: float, *, standardise: bool) -> Floats:
    """Intercept and slopes (B, 1 + p) fitted on the rows whose outcome (n,) is known.

    The penalty is `strength` on each squared slope: per unit of the input, or with `standardise` per standard deviation of it in
    that weighting. It is scaled instead of the inputs, so that all weightings share one matrix.
    """
    known = ~np.isnan(outcome)
    used, weightings = inputs[known], weights[:, known]
    slopes = strength * (variances(used, weightings) if standardise else np.ones((len(weights), inputs.shape[1])))
    penalty = np.column_stack([np.full(len(weights), INTERCEPT_PENALTY), slopes])
    return ridge_logit(np.column_stack([np.ones(len(used)), used]), outcome[known], weightings, penalty)


def variances(inputs: Floats, weights: Floats) -> Floats:
    """Weighted variance (B, p) of each input; 1 where it hardly varies, or where all weights are zero."""
    total = np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    centred = inputs - inputs.mean(axis=0)
    variance = weights @ centred**2 / total - (weights @ centred / total) ** 2
    return np.where(variance > HARDLY * (inputs**2).mean(axis=0), variance, 1)
