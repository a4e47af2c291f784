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

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats, start: Floats | None = None) -> Floats:
        member, columns = self._member(), range(inputs.shape[-1])
        near = [None] * len(columns) if start is None else np.split(start, self._cuts(start.shape[1], len(columns)), axis=1)[1:]
        members = [member._solve(inputs[..., [one]], outcomes, weights, near[one]) for one in columns]
        return np.hstack([base_rates(outcomes, weights), *members])

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        member = self._member()
        columns = inputs.shape[-1]
        rates, *members = np.split(parameters, self._cuts(parameters.shape[1], columns), axis=1)
        total = sum(member._answer(inputs[..., [one]], own) for one, own in enumerate(members))
        return self.weight * total / columns + (1 - self.weight) * rates[:, None, :]

    def _cuts(self, parameters: int, columns: int) -> list[int]:
        """Where climatology ends and each member begins."""
        each = (parameters - self.n_outputs_) // columns
        return [self.n_outputs_ + each * column for column in range(columns)]

    def _member(self) -> Hazard | RidgeLogit:
        return Hazard(self.prior_sd, self.overlap) if self.ordered else RidgeLogit(self.prior_sd, self.overlap, ordered=False)
