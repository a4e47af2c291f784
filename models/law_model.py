"""What models that answer by the law share: any rise and horizon without training again, and intervals in closed form."""

from abc import abstractmethod
from copy import copy
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from core.arrays import Bools, Floats
from core.errors import BadInput
from models.base import BatchedModel, running_maximum
from models.law import RISES, Question, carried_base_rates, limits


class LawModel(BatchedModel):
    """A model whose probabilities come from the law of a volatility and a tilt.

    `threshold` is the rise asked about (0.3 is 30 %), `horizons` are days, `terminal` asks for the close at the horizon. A row
    whose volatility is missing or 0 (a price that isn't quoted) is answered with the base rate.
    """

    threshold: float
    horizons: tuple[int, ...]
    terminal: bool
    has_draws = False

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """As for every model; the usual volatility of the rows is kept for base rates of other questions."""
        super().fit(X, y, sample_weight)
        sigma = self._sigma(self._rows(X))
        known = sigma[sigma > 0]
        self.sigma_known_ = float(np.sqrt(np.mean(known**2))) if len(known) else 1.0
        return self

    @property
    def ordered(self) -> bool:  # type: ignore[override]
        """Whether P may not fall with the horizon: a first passage, by construction."""
        return not self.terminal

    @property
    def question(self) -> Question:
        """What is asked."""
        return Question(self.threshold, tuple(self.horizons), self.terminal)

    def for_question(self, rise: float | None, horizons: tuple[int, ...] | None) -> Self:
        """This fitted model, answering another rise or other horizons (days; None: its own).

        Base rates are carried over by the law. Raises BadInput where it can't be asked.
        """
        check_is_fitted(self, "base_rates_")
        wanted = Question(self.threshold if rise is None else rise, tuple(horizons or self.horizons), self.terminal)
        if wanted == self.question:
            return self
        require_askable(wanted)
        other = copy(self)
        other.base_rates_ = carried_base_rates(self.base_rates_, self.question, wanted, self.sigma_known_)
        other.threshold, other.horizons, other.n_outputs_ = wanted.rise, wanted.horizons, len(wanted.horizons)
        return other

    def curve(self, X: ArrayLike) -> Floats:
        """P(highest close ≥ x) within each horizon at the rises x of `models.law.RISES`: (n, len(RISES), K)."""
        inputs, parameters = self._rows(X), None if self.parameters_ is None else self.parameters_[None]
        models = (self.for_question(float(rise), None) for rise in RISES)
        return np.stack([model._forecast(inputs, parameters, model.base_rates_[None])[0] for model in models], axis=1)

    def interval(self, X: ArrayLike, coverage: float = 0.90) -> tuple[Floats, Floats]:
        """Limits (n, K) of each probability: what isn't known of the tilt and of the volatility, in closed form."""
        probability, inputs = self.predict(X), self._rows(X)
        if self.parameters_ is None:
            return probability, probability
        sd = np.where(self._usable(inputs)[:, None], self._sd(np.nan_to_num(inputs), self.parameters_), 0.0)
        low, high = limits(probability, sd, coverage)
        return (running_maximum(low), running_maximum(high)) if self.ordered else (low, high)

    def edge(self, X: ArrayLike) -> tuple[Floats, Floats]:
        """The tilt λ and the volatility σ (n,), both daily, that the answers rest on; λ is 0 where nothing tilts."""
        inputs = self._rows(X)
        if self.parameters_ is None:
            return np.zeros(len(inputs)), self._sigma(inputs)
        return self._tilt(np.nan_to_num(inputs), self.parameters_[None])[0], self._sigma(inputs)

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats, start: Floats | None = None) -> Floats:
        """Nothing is learnt but the base rates, unless a model says otherwise."""
        require_horizons(self.horizons, outcomes)
        return np.empty((len(weights), 0))

    def _usable(self, inputs: Floats) -> Bools:
        return np.asarray(self._sigma(inputs) > 0)

    def _sigma(self, inputs: Floats) -> Floats:
        """Daily volatility (…, n) of rows (…, n, p)."""
        return inputs[..., -1]

    def _tilt(self, inputs: Floats, parameters: Floats) -> Floats:
        """Daily tilt λ (B, n) of rows (n, p) for parameters (B, q)."""
        return np.zeros((len(parameters), inputs.shape[-2]))

    @abstractmethod
    def _sd(self, inputs: Floats, parameters: Floats) -> Floats:
        """Standard deviation (n, K) of the probabilities of rows (n, p), for parameters (q,)."""


def require_askable(question: Question) -> None:
    """Refuse a rise or horizons that have no answer."""
    least = -1.0 if question.terminal else 0.0
    if not least <= question.rise < np.inf or question.rise == -1.0:
        raise BadInput(f"A rise of {question.rise:g} can't be asked; 0.5 is 50 %.")
    if min(question.horizons) < 1:
        raise BadInput(f"{min(question.horizons)} days can't be asked: name at least one day.")


def require_horizons(horizons: tuple[int, ...], outcomes: Floats) -> None:
    """One horizon in days for each column of the outcomes, else ValueError."""
    if len(horizons) != outcomes.shape[-1]:
        raise ValueError(f"{len(horizons)} horizons are named, {horizons}, but outcomes have {outcomes.shape[-1]}.")
