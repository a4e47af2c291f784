"""What volatility alone predicts: a random walk without drift."""

import numpy as np
from scipy.special import ndtr

from models.base import BatchedModel, Bools, Floats

DAILY_CLOSES = 0.5826
"""−ζ(1/2)/√(2π): a barrier watched once a day acts as one shifted outward by this many daily standard deviations."""


class RandomWalk(BatchedModel):
    """Reflection principle: P = 2·Φ(−(ln(1+θ) + 0.5826σ) / (σ√h)), that the highest daily close of h days is θ above today's.

    With `terminal`, P = Φ(−ln(1+θ) / (σ√h)), that the close h days on is. σ is the first column: the daily standard deviation of
    log returns over the past 90 days. A σ of zero is a price that isn't quoted and counts as missing. Nothing is learnt but the
    base rates that answer for a missing σ, so all draws equal the point.

    Reference: Broadie, Glasserman and Kou, "A continuity correction for discrete barrier options", Mathematical Finance 7 (1997).
    """

    def __init__(self, threshold: float = 0.3, horizons: tuple[int, ...] = (30, 60, 90), terminal: bool = False) -> None:
        self.threshold = threshold
        self.horizons = horizons
        self.terminal = terminal

    @property
    def ordered(self) -> bool:  # type: ignore[override]
        """Whether P may not fall with the horizon: a first passage, by construction."""
        return not self.terminal

    def _usable(self, inputs: Floats) -> Bools:
        return inputs[:, 0] > 0

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats, start: Floats | None = None) -> Floats:
        require_horizons(self.horizons, outcomes)
        return np.empty((len(weights), 0))

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        point = passage_probability(inputs[:, 0], self.threshold, self.horizons, terminal=self.terminal)
        return np.broadcast_to(point, (len(parameters), *point.shape))


def passage_probability(volatility: Floats, threshold: float, horizons: tuple[int, ...], *, terminal: bool = False) -> Floats:
    """The formula of RandomWalk: (…, K) from daily volatility (…); NaN where that isn't positive."""
    sigma = np.where(volatility > 0, volatility, np.nan)[..., None]
    barrier = np.log1p(threshold) + (0 if terminal else DAILY_CLOSES * sigma)
    beyond = ndtr(-barrier / (sigma * np.sqrt(horizons)))
    return beyond if terminal else 2 * beyond


def require_horizons(horizons: tuple[int, ...], outcomes: Floats) -> None:
    """One horizon in days for each column of the outcomes, else ValueError."""
    if len(horizons) != outcomes.shape[-1]:
        raise ValueError(f"{len(horizons)} horizons are named, {horizons}, but outcomes have {outcomes.shape[-1]}.")
