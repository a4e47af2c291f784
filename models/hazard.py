"""Discrete-time hazard of the first passage: coherent over horizons by construction."""

import numpy as np
from scipy.special import expit

from models.base import BatchedModel, Bools, Floats, linear
from models.newton import INTERCEPT_PENALTY, ridge_logit

OVERLAP = 60 / 7


class Hazard(BatchedModel):
    """Ridge logit over person-period rows: logit h_k = a_k + x·b, P_k = 1 − Π(1 − h_j, j ≤ k).

    A row at risk in interval k (no event before, outcome by k known) is one observation of whether the event comes in it. Rows
    whose later horizons aren't over still inform the earlier intervals. K intercepts are free, the p slopes are shared.

    The strength of the ridge isn't tuned. Slopes have a normal prior of mean 0 and standard deviation `prior_sd` (log-odds per
    standard deviation of a composite: 0.3 takes a one-sd change from 24 % to 30 %). About `overlap` neighbouring weekly rows share
    one outcome (60 days / 7) and count as one, so the penalty on the sum over rows is overlap / prior_sd².

    Reference: Singer and Willett, "It's about time", Journal of Educational Statistics 18 (1993).
    """

    def __init__(self, prior_sd: float = 0.3, overlap: float = OVERLAP) -> None:
        self.prior_sd = prior_sd
        self.overlap = overlap

    @property
    def intercept_(self) -> Floats:
        """Log-odds of each interval at x = 0, (K,)."""
        return self._learnt()[: self.n_outputs_]

    @property
    def coef_(self) -> Floats:
        """Slopes shared by the intervals, (p,)."""
        return self._learnt()[self.n_outputs_ :]

    def solve_each(self, inputs: Floats, outcomes: Floats, *, start: Floats | None = None) -> Floats:
        """Parameters (B, q) learnt from each of B sets of outcomes (B, n, K) of the same complete rows (n, p).

        As B times `fit`, in one go; `start` (B, q) is near the answer. The same cells are unknown (NaN) in every set.
        """
        K = outcomes.shape[2]
        rows, intervals = np.nonzero(~np.isnan(outcomes[0]))
        before = np.concatenate([np.zeros((*outcomes.shape[:2], 1)), outcomes[:, :, :-1]], axis=2)[:, rows, intervals]
        design = person_periods(inputs, rows, intervals, K)
        weights = (before == 0).astype(np.float64)
        return ridge_logit(design, outcomes[:, rows, intervals], weights, self._penalty(inputs, outcomes[0]), start=start)

    def solve_rotated(self, inputs: Floats, outcomes: Floats, *, start: Floats | None = None) -> Floats:
        """Parameters (B, q) learnt from each of B sets of complete inputs (B, n, p) with the same outcomes (n, K)."""
        K = outcomes.shape[1]
        rows, intervals = np.nonzero(at_risk(outcomes))
        indicators = np.broadcast_to(np.eye(K)[intervals], (len(inputs), len(rows), K))
        design = np.concatenate([indicators, inputs[:, rows]], axis=2)
        weights = np.ones((len(inputs), len(rows)))
        return ridge_logit(design, outcomes[rows, intervals], weights, self._penalty(inputs[0], outcomes), start=start)

    def answer_each(self, inputs: Floats, parameters: Floats) -> Floats:
        """Probabilities (B, n, K) of complete rows (n, p), or (B, n, p) of its own for each, by the parameters (B, q)."""
        return self._answer(inputs, parameters)

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats) -> Floats:
        rows, intervals = np.nonzero(at_risk(outcomes))
        design = person_periods(inputs, rows, intervals, outcomes.shape[1])
        return ridge_logit(design, outcomes[rows, intervals], weights[:, rows], self._penalty(inputs, outcomes))

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        K = parameters.shape[1] - inputs.shape[-1]
        hazards = expit(parameters[:, None, :K] + linear(inputs, parameters[:, K:])[..., None])
        return 1 - np.cumprod(1 - hazards, axis=-1)

    def _penalty(self, inputs: Floats, outcomes: Floats) -> Floats:
        slopes = np.full(inputs.shape[1], self.overlap / self.prior_sd**2)
        return np.concatenate([np.full(outcomes.shape[1], INTERCEPT_PENALTY), slopes])


def at_risk(outcomes: Floats) -> Bools:
    """Cells (n, K) of the person-period rows: outcome known and no event by the horizon before.

    Raises ValueError where an event is over by one horizon and gone by the next.
    """
    undone = (outcomes[:, :-1] == 1) & (outcomes[:, 1:] == 0)
    if undone.any():
        raise ValueError(
            f"First passage is nested, but row {np.nonzero(undone)[0][0]} has an event by one horizon and none by the next."
        )
    before = np.column_stack([np.zeros(len(outcomes)), outcomes[:, :-1]])
    return ~np.isnan(outcomes) & (before == 0)


def person_periods(inputs: Floats, rows: np.ndarray, intervals: np.ndarray, K: int) -> Floats:
    """Design (m, K + p): one indicator an interval, then the inputs of the row."""
    return np.hstack([np.eye(K)[intervals], inputs[rows]])
