"""Forecast from volatility alone: the law without a tilt, at an uncertain volatility."""

import numpy as np

from core.arrays import Floats
from models.law import SIGMA_UNCERTAINTY, averaged, probability, slope_by_log_sigma
from models.law_model import LawModel


class Volatility(LawModel):
    """The law at λ = 0, averaged over ln σ, which is known to a standard deviation of `sigma_uncertainty`.

    σ is the last column: daily, blended of four memories (the feature `blended_volatility`). Nothing is learnt but the base rates
    that answer where σ is missing.
    """

    def __init__(
        self,
        threshold: float = 0.3,
        horizons: tuple[int, ...] = (30, 60, 90),
        terminal: bool = False,
        sigma_uncertainty: float = SIGMA_UNCERTAINTY,
    ) -> None:
        self.threshold = threshold
        self.horizons = horizons
        self.terminal = terminal
        self.sigma_uncertainty = sigma_uncertainty

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        answer = self.answer_at(self._sigma(inputs), np.zeros(inputs.shape[-2]))
        return np.broadcast_to(answer, (len(parameters), *answer.shape[-2:]))

    def _sd(self, inputs: Floats, parameters: Floats) -> Floats:
        return self.sd_at(self._sigma(inputs), np.zeros(len(inputs)), np.zeros(len(inputs)))

    def answer_at(self, sigma: Floats, tilt: Floats) -> Floats:
        """Probabilities (…, n, K) at daily volatilities and tilts (…, n); NaN where a volatility isn't positive."""
        return averaged(lambda *at: probability(*at)[0], *self._together(sigma, tilt), self.question, self.sigma_uncertainty)

    def sd_at(self, sigma: Floats, tilt: Floats, tilt_sd: Floats) -> Floats:
        """Standard deviations (n, K) of those probabilities: of the tilt, known to `tilt_sd` (n,), and of ln σ."""
        arguments_of_law = (*self._together(sigma, tilt), self.question, self.sigma_uncertainty)
        by_tilt = averaged(lambda *arguments: probability(*arguments)[1], *arguments_of_law)
        return np.asarray(
            np.hypot(by_tilt * tilt_sd[:, None], averaged(slope_by_log_sigma, *arguments_of_law) * self.sigma_uncertainty)
        )

    def _together(self, sigma: Floats, tilt: Floats) -> tuple[Floats, Floats]:
        return np.broadcast_to(np.where(sigma > 0, sigma, np.nan), np.broadcast_shapes(sigma.shape, tilt.shape)), tilt
