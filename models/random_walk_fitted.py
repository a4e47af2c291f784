"""The random walk, corrected by its own past: what volatility predicts once its forecasts are calibrated."""

import numpy as np
from scipy.special import expit, logit

from models.base import BatchedModel, Bools, Floats
from models.hazard import OVERLAP
from models.logit import Ridge, logit_a_horizon
from models.random_walk import passage_probability, require_horizons

CERTAIN = 1e-6


class RandomWalkFitted(BatchedModel):
    """logit P_k = a_k + b_k · logit(random walk's P_k), fitted horizon by horizon on past rows.

    The ridge on b is light: `prior_sd` of 1 for one standard deviation of the random walk's log-odds, `overlap` rows counted as
    one. σ is the first column; a σ of zero counts as missing. `terminal` and `threshold` as for RandomWalk.
    """

    def __init__(
        self,
        threshold: float = 0.3,
        horizons: tuple[int, ...] = (30, 60, 90),
        terminal: bool = False,
        prior_sd: float = 1.0,
        overlap: float = OVERLAP,
    ) -> None:
        self.threshold = threshold
        self.horizons = horizons
        self.terminal = terminal
        self.prior_sd = prior_sd
        self.overlap = overlap

    @property
    def ordered(self) -> bool:  # type: ignore[override]
        """Whether P may not fall with the horizon: a first passage, by running maximum."""
        return not self.terminal

    def _usable(self, inputs: Floats) -> Bools:
        return inputs[:, 0] > 0

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats, start: Floats | None = None) -> Floats:
        require_horizons(self.horizons, outcomes)
        log_odds = self._log_odds(inputs)
        ridge = Ridge(self.overlap / self.prior_sd**2, standardise=True)
        return logit_a_horizon(lambda k: log_odds[:, [k]], outcomes, weights, ridge, start)

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        lines = parameters.reshape(len(parameters), 1, -1, 2)
        return expit(lines[..., 0] + lines[..., 1] * self._log_odds(inputs))

    def _log_odds(self, inputs: Floats) -> Floats:
        walk = passage_probability(inputs[:, 0], self.threshold, self.horizons, terminal=self.terminal)
        return logit(np.clip(walk, CERTAIN, 1 - CERTAIN))
