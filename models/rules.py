"""Base rates: of all days (climatology), or one while a condition holds and another while it doesn't."""

import numpy as np

from core.arrays import Bools, Floats
from models.base import BatchedModel, Refits, base_rates, base_rates_of_each, weighted_sums


class Climatology(BatchedModel):
    """Share of events among the known outcomes of each horizon; the inputs are never read, so none can be missing."""

    def __init__(self, ordered: bool = True) -> None:
        self.ordered = ordered

    def fit_each(self, inputs: Floats, outcomes: Floats, *, near: Refits | None = None) -> Refits:
        """Base rates are all there is to learn."""
        return Refits(None, base_rates_of_each(inputs, outcomes))

    def _usable(self, inputs: Floats) -> Bools:
        return np.ones(len(inputs), dtype=bool)

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats, start: Floats | None = None) -> Floats:
        return base_rates(outcomes, weights)

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        return np.broadcast_to(parameters[:, None, :], (len(parameters), inputs.shape[-2], parameters.shape[1]))


class ConditionalRate(BatchedModel):
    """Share of events among past rows on the same side of a threshold, shrunk towards climatology.

    The condition is first column ≥ `threshold`, or ≤ it where `above` is false. Each share counts `prior_weeks` more rows in which
    events came at the base rate, because the events behind a rule are few: 26 weeks are about two episodes of 90 days.
    """

    def __init__(self, threshold: float, above: bool = True, prior_weeks: float = 26, ordered: bool = True) -> None:
        self.threshold = threshold
        self.above = above
        self.prior_weeks = prior_weeks
        self.ordered = ordered

    def _usable(self, inputs: Floats) -> Bools:
        return ~np.isnan(inputs[:, 0])

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats, start: Floats | None = None) -> Floats:
        holds = self._holds(inputs)
        return np.hstack([self._shrunk(outcomes, weights * holds, weights), self._shrunk(outcomes, weights * ~holds, weights)])

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        inside, outside = np.split(parameters[:, None, :], 2, axis=2)
        return np.where(self._holds(inputs)[:, None], inside, outside)

    def _holds(self, inputs: Floats) -> Bools:
        return inputs[:, 0] >= self.threshold if self.above else inputs[:, 0] <= self.threshold

    def _shrunk(self, outcomes: Floats, side: Floats, weights: Floats) -> Floats:
        """Rates (B, K) on one side of the threshold, its weights (B, n) zero on the other."""
        known = ~np.isnan(outcomes)
        climatology = base_rates(outcomes, weights)
        total = weighted_sums(side, known) + self.prior_weeks
        events = weighted_sums(side, np.where(known, outcomes, 0)) + self.prior_weeks * climatology
        return np.divide(events, total, out=climatology, where=total > 0)
