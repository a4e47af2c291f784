"""The default: a mixture of experts whose weights follow their own past forecasts."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from core.arrays import Floats, Ints
from models.base import OVERLAP, running_maximum
from models.law import SIGMA_UNCERTAINTY
from models.law_model import LawModel
from models.passage import YEAR_DAYS, Passage
from models.random_walk import RandomWalk
from models.volatility import Volatility

EXPERTS: Mapping[str, float] = {"passage": 0.40, "volatility": 0.30, "random_walk": 0.15, "climatology": 0.15}
"""The experts and their weights before anything is known of their forecasts."""

HALF_LIFE_YEARS = 4.0
LEAST_COLUMNS = 2
LEAST_PROBABILITY = 1e-3
"""The log loss reads a probability nearer to 0 or 1 than this as this far away, so that no expert is lost by one miss."""


class Pool(LawModel):
    """P = Σ wₘ Pₘ over passage, volatility, random walk and climatology. Wrong signs or a dead signal then cost little.

    The columns are the composites, then the blended σ, then σ of the past 90 days, which the random walk reads. `fit` trains the
    experts, with the weights of `EXPERTS`; `with_record` gives the weights that the experts' past forecasts earned. What is learnt
    is what `Passage` learns, and the base rates.
    """

    def __init__(
        self,
        threshold: float = 0.3,
        horizons: tuple[int, ...] = (30, 60, 90),
        terminal: bool = False,
        sigma_uncertainty: float = SIGMA_UNCERTAINTY,
        prior_mean: float = 0.10,
        prior_sd: float = 0.20,
        overlap: float = OVERLAP,
    ) -> None:
        self.threshold = threshold
        self.horizons = horizons
        self.terminal = terminal
        self.sigma_uncertainty = sigma_uncertainty
        self.prior_mean = prior_mean
        self.prior_sd = prior_sd
        self.overlap = overlap

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train the experts. Their weights are those from before any forecast; an earlier record is forgotten."""
        self._set_record(np.zeros(1, dtype=np.int64), np.array([list(EXPERTS.values())]))
        return super().fit(X, y, sample_weight)

    def _training_rows(self, X: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        inputs, outcomes = super()._training_rows(X, y)
        if inputs.shape[1] < LEAST_COLUMNS:
            raise ValueError(f"Pool reads two volatilities after the composites, but X has n_features={inputs.shape[1]}.")
        return inputs, outcomes

    def with_record(self, days: pd.DatetimeIndex, weights: Floats) -> Self:
        """This model with the weights (n, M) its experts had earned by the end of each of the rising `days` (n,)."""
        other = copy(self)
        other._set_record(days.to_numpy().astype("datetime64[D]").astype(np.int64), weights)
        return other

    def at(self, day: pd.Timestamp) -> Self:
        """This model with the weights its experts had earned by the end of `day`; the earliest known where it lies before them."""
        number = int(np.datetime64(day, "D").astype(np.int64))
        position = max(int(np.searchsorted(self.weight_days_, number, side="right")) - 1, 0)
        model = copy(self)
        model._set_record(self.weight_days_[[position]], self.weight_table_[[position]])
        return model

    @property
    def weights_(self) -> Floats:
        """The newest weights (M,) of the experts, in the order of `EXPERTS`."""
        check_is_fitted(self, "weight_table_")
        return np.asarray(self.weight_table_[-1])

    @property
    def passage_(self) -> Passage:
        """The expert that learns, fitted."""
        passage = self._passage()
        passage.n_features_in_ = self.n_features_in_ - 1
        passage.n_outputs_, passage.base_rates_, passage.parameters_ = self.n_outputs_, self.base_rates_, self.parameters_
        return passage

    def experts(self, X: ArrayLike) -> Floats:
        """Probabilities (M, n, K) of each expert, in the order of `EXPERTS`."""
        check_is_fitted(self, "base_rates_")
        inputs, parameters = self._rows(X), None if self.parameters_ is None else self.parameters_[None]
        return self.experts_each(inputs, parameters, self.base_rates_[None])[:, 0]

    def experts_each(self, inputs: Floats, parameters: Floats | None, rates: Floats) -> Floats:
        """Probabilities (M, B, n, K) of each expert of B fits with their base rates (B, K), which answer where an expert can't."""
        climatology = np.repeat(rates[:, None, :], inputs.shape[-2], axis=1)
        if parameters is None:
            return np.stack([climatology] * len(EXPERTS))
        first, read = inputs if inputs.ndim == 2 else inputs[0], np.nan_to_num(inputs)
        usable, walks = self._usable(first)[:, None], (first[:, -1] > 0)[:, None]
        answers = {
            "passage": np.where(usable, self._answer(read, parameters), climatology),
            "volatility": np.where(usable, self._volatility()._answer(read[..., :-1], parameters), climatology),
            "random_walk": np.where(usable & walks, self._random_walk()._answer(read, parameters), climatology),
            "climatology": climatology,
        }
        return np.stack([answers[name] for name in EXPERTS])

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats, start: Floats | None = None) -> Floats:
        return self._passage()._solve(inputs[..., :-1], outcomes, weights, start)

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        """Of the expert that learns, passage; `_forecast` mixes it with the others."""
        return self._passage()._answer(inputs[..., :-1], parameters)

    def _forecast(self, inputs: Floats, parameters: Floats | None, rates: Floats) -> Floats:
        experts = self.experts_each(inputs, parameters, rates)
        mixed = sum(weight * answers for weight, answers in zip(self.weights_, experts, strict=True))
        return running_maximum(mixed) if self.ordered else mixed

    def _sigma(self, inputs: Floats) -> Floats:
        return inputs[..., -2]

    def _tilt(self, inputs: Floats, parameters: Floats) -> Floats:
        return self._passage()._tilt(inputs[..., :-1], parameters)

    def _sd(self, inputs: Floats, parameters: Floats) -> Floats:
        """The slopes' and ln σ's, as the two experts that know of them pass it on; σ is the same in both."""
        passage, volatility = (self.weights_[list(EXPERTS).index(name)] for name in ("passage", "volatility"))
        of_passage = passage * self._passage()._sd(inputs[:, :-1], parameters)
        return of_passage + volatility * self._volatility()._sd(inputs[:, :-1], parameters)

    def models_inside(self) -> dict[str, Volatility]:
        """Models, not fitted, that forecast of the same rows what the expert of their name does."""
        return {"passage": self._passage(), "volatility": self._volatility()}

    def _passage(self) -> Passage:
        return Passage(**self.get_params())

    def _volatility(self) -> Volatility:
        return Volatility(self.threshold, self.horizons, self.terminal, self.sigma_uncertainty)

    def _random_walk(self) -> RandomWalk:
        return RandomWalk(self.threshold, self.horizons, self.terminal)

    def _set_record(self, days: Ints, weights: Floats) -> None:
        self.weight_days_, self.weight_table_ = days, weights


def earned_weights(
    experts: Floats, outcomes: Floats, known: NDArray[np.datetime64], days: NDArray[np.datetime64], horizons: Sequence[int]
) -> Floats:
    """Weights (…, n, M) that the experts had earned by the end of each of `days` (n,).

    In proportion to the weight before any forecast × exp(−past log loss). A loss counts 7/h of one, because weekly rows overlap, a
    third where there are three horizons, half as much for every `HALF_LIFE_YEARS` that it is known, and only once it is known.
    experts: (M, …, n, K), NaN where one hadn't spoken; outcomes (…, n, K), NaN where missing; known (n, K): when each was known.
    """
    clipped = np.clip(experts, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    loss = -np.where(outcomes == 1, np.log(clipped), np.log1p(-clipped))
    scored = np.isfinite(loss).all(axis=0) & np.isfinite(outcomes)
    loss = np.where(scored, loss, 0.0).reshape(*loss.shape[:-2], -1)
    age = (days[:, None, None] - known[None]) / np.timedelta64(1, "D") / YEAR_DAYS
    share = 7 / np.asarray(horizons, dtype=np.float64) / len(horizons)
    counts = np.where(age >= 0, 0.5 ** (np.maximum(age, 0) / HALF_LIFE_YEARS), 0.0) * share
    past = np.moveaxis(loss @ counts.reshape(len(days), -1).T, 0, -1)
    log_weights = np.log(list(EXPERTS.values())) - past
    weights = np.exp(log_weights - log_weights.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
