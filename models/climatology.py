"""The base rate: what is said by someone who knows only how often it happened."""

import numpy as np

from models.base import BatchedModel, Bools, Floats, Refits, base_rates, rates_of_each


class Climatology(BatchedModel):
    """Share of events among the known outcomes of each horizon; the inputs are never read, so none can be missing."""

    def __init__(self, ordered: bool = True) -> None:
        self.ordered = ordered

    def fit_each(self, inputs: Floats, outcomes: Floats, *, near: Refits | None = None) -> Refits:
        """Base rates are all there is to learn."""
        return Refits(None, rates_of_each(inputs, outcomes))

    def _usable(self, inputs: Floats) -> Bools:
        return np.ones(len(inputs), dtype=bool)

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats, start: Floats | None = None) -> Floats:
        return base_rates(outcomes, weights)

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        return np.broadcast_to(parameters[:, None, :], (len(parameters), inputs.shape[-2], parameters.shape[1]))
