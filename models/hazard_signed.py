"""The hazard with a prior that believes the declared signs."""

import numpy as np

from models.base import Floats
from models.hazard import OVERLAP, Hazard


class SignedHazard(Hazard):
    """The hazard whose slopes are shrunk towards `prior_mean` instead of 0: composites are signed, so the claim expects it above.

    Half of `prior_sd` says: the declared direction is more likely than not, 69 to 31. Like `prior_sd` it isn't tuned.
    """

    def __init__(self, prior_mean: float = 0.15, prior_sd: float = 0.3, overlap: float = OVERLAP) -> None:
        super().__init__(prior_sd, overlap)
        self.prior_mean = prior_mean

    @property
    def coef_(self) -> Floats:
        """Slopes shared by the intervals, (p,)."""
        return super().coef_ + self.prior_mean

    def _known_log_odds(self, inputs: Floats, K: int) -> Floats:
        """What the prior mean says; only the distance from it is learnt and penalised."""
        total = np.zeros(inputs.shape[:-1])
        for column in range(inputs.shape[-1]):
            total += self.prior_mean * inputs[..., column]
        return np.repeat(total[..., None], K, axis=-1)
