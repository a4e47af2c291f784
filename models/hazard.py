"""Discrete-time hazard of the first passage: coherent over horizons by construction."""

import numpy as np
from scipy.special import expit

from core.arrays import Bools, Floats
from models.base import OVERLAP, BatchedModel, linear_predictor
from models.ridge_newton import INTERCEPT_PENALTY, ridge_logit


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

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats, start: Floats | None = None) -> Floats:
        rows, intervals, at_risk_cells = risk_set(outcomes)
        K, own_inputs = outcomes.shape[-1], inputs.ndim == 3
        return ridge_logit(
            np.eye(K)[intervals] if own_inputs else person_periods(inputs, rows, intervals, K),
            outcomes[..., rows, intervals],
            weights[:, rows] * at_risk_cells,
            self._penalty(inputs.shape[-1], K),
            own=inputs[:, rows] if own_inputs else None,
            start=start,
        )

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        K = parameters.shape[1] - inputs.shape[-1]
        log_odds = parameters[:, None, :K] + linear_predictor(inputs, parameters[:, K:])[..., None]
        return 1 - np.cumprod(1 - expit(log_odds), axis=-1)

    def _penalty(self, columns: int, K: int) -> Floats:
        return np.concatenate([np.full(K, INTERCEPT_PENALTY), np.full(columns, self.overlap / self.prior_sd**2)])


def risk_set(outcomes: Floats) -> tuple[np.ndarray, np.ndarray, Bools | float]:
    """Rows (m,) and intervals (m,) of the person-periods of outcomes (n, K), and 1.

    Of sets (B, n, K) the cells known in all, and for each set whether it is at risk there, or not any more (B, m).
    """
    if outcomes.ndim == 2:
        rows, intervals = np.nonzero(at_risk(outcomes))
        return rows, intervals, 1.0
    rows, intervals = np.nonzero(~np.isnan(outcomes[0]))
    before = outcomes[:, rows, np.maximum(intervals - 1, 0)]
    return rows, intervals, (intervals == 0) | (before == 0)


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
