"""The hazard that begins where volatility alone leaves off."""

import numpy as np
from scipy.special import logit

from models.base import Bools, Floats
from models.hazard import OVERLAP, Hazard
from models.random_walk import passage_probability, require_horizons

CERTAIN = 1e-6


class HazardBeyondVolatility(Hazard):
    """logit h_k = w_k + a_k + x·b, where w_k is the random walk's own log-odds of the interval, read from the last column, σ.

    The slopes explain only what volatility doesn't. `threshold` and `horizons` as for RandomWalk; a σ of zero counts as missing.
    """

    def __init__(
        self,
        threshold: float = 0.3,
        horizons: tuple[int, ...] = (30, 60, 90),
        prior_sd: float = 0.3,
        overlap: float = OVERLAP,
    ) -> None:
        super().__init__(prior_sd, overlap)
        self.threshold = threshold
        self.horizons = horizons

    def _usable(self, inputs: Floats) -> Bools:
        return super()._usable(inputs) & (inputs[:, -1] > 0)

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats, start: Floats | None = None) -> Floats:
        require_horizons(self.horizons, outcomes)
        return super()._solve(inputs, outcomes, weights, start)

    def _read(self, inputs: Floats) -> Floats:
        """All but σ."""
        return inputs[..., :-1]

    def _known_log_odds(self, inputs: Floats, K: int) -> Floats:
        """Log-odds of first passage in each interval, given none before."""
        reached = passage_probability(inputs[..., -1], self.threshold, self.horizons)
        before = np.concatenate([np.zeros_like(reached[..., :1]), reached[..., :-1]], axis=-1)
        return logit(np.clip((reached - before) / (1 - before), CERTAIN, 1 - CERTAIN))
