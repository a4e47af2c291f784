"""Forecast combination: the mean of one-block models, shrunk towards climatology."""

import numpy as np

from models.base import BatchedModel, Floats, base_rates
from models.hazard import OVERLAP, Hazard
from models.logit import RidgeLogit


class Combination(BatchedModel):
    """P = weight · mean of P of one model a column + (1 − weight) · climatology.

    The members are hazards, or logits where the outcome isn't `ordered`; the weight is fixed beforehand, not learnt: equal weights
    beat estimated ones on samples this short.

    Reference: Rapach, Strauss and Zhou, "Out-of-sample equity premium prediction", Review of Financial Studies 23 (2010).
    """

    def __init__(self, weight: float = 0.5, prior_sd: float = 0.3, overlap: float = OVERLAP, ordered: bool = True) -> None:
        self.weight = weight
        self.prior_sd = prior_sd
        self.overlap = overlap
        self.ordered = ordered

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats) -> Floats:
        member = self._member()
        members = [member._solve(column[:, None], outcomes, weights) for column in inputs.T]
        return np.hstack([base_rates(outcomes, weights), *members])

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        member = self._member()
        rates, *members = np.split(parameters, self._cuts(parameters.shape[1], inputs.shape[1]), axis=1)
        total = sum(member._answer(column[:, None], own) for column, own in zip(inputs.T, members, strict=True))
        return self.weight * total / inputs.shape[1] + (1 - self.weight) * rates[:, None, :]

    def _cuts(self, parameters: int, columns: int) -> list[int]:
        """Where climatology ends and each member begins."""
        each = (parameters - self.n_outputs_) // columns
        return [self.n_outputs_ + each * column for column in range(columns)]

    def _member(self) -> Hazard | RidgeLogit:
        return Hazard(self.prior_sd, self.overlap) if self.ordered else RidgeLogit(self.prior_sd, self.overlap, ordered=False)
