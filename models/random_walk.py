"""What plain volatility predicts: a random walk without drift at the standard deviation of 90 days."""

import numpy as np

from core.arrays import Floats
from models.law import probability
from models.law_model import LawModel


class RandomWalk(LawModel):
    """The law at λ = 0: P = 2·Φ(−(ln(1+θ) + 0.5826σ) / (σ√h)), that the highest daily close of h days is θ above today's.

    With `terminal`, P = Φ(−ln(1+θ) / (σ√h)), that the close h days on is. σ is the last column: the daily standard deviation of
    log returns over the past 90 days, taken as known, so an interval has no width. Nothing is learnt but the base rates.
    """

    def __init__(self, threshold: float = 0.3, horizons: tuple[int, ...] = (30, 60, 90), terminal: bool = False) -> None:
        self.threshold = threshold
        self.horizons = horizons
        self.terminal = terminal

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        sigma = self._sigma(inputs)
        point, _ = probability(np.where(sigma > 0, sigma, np.nan), np.zeros_like(sigma), self.question)
        return np.broadcast_to(point, (len(parameters), *point.shape[-2:]))

    def _sd(self, inputs: Floats, parameters: Floats) -> Floats:
        return np.zeros((len(inputs), len(self.horizons)))
