"""Base classes of models: they map inputs (n, p) to probabilities (n, K) and learn from outcomes (n, K)."""

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, validate_data

from core.arrays import Bools, Floats
from core.errors import Refused

OVERLAP = 60 / 7
"""Weekly rows that share one 60-day outcome and so count as about one."""


class HorizonModel(BaseEstimator, ABC):
    """P(event by each of K horizons), a scikit-learn estimator.

    Fitting takes X (n, p) and y (n, K) or (n,) of 0, 1 and NaN; NaN says that the outcome isn't known (censored or purged) and that
    cell takes no part. A row with an input missing (NaN) that the model reads is answered with climatology, and teaches the model
    nothing else. With `ordered` (first passage) P never falls from one horizon to the next.

    What is learnt is one short vector, so that all refits are learnt and kept as one array: `parameters_` (q,) is the fit and
    `parameter_draws_` (B, q) are the refits; `base_rates_` (K,) and `base_rate_draws_` (B, K) are climatology. Parameters are None
    where the complete training rows hold no known outcome of some horizon: then climatology answers.
    Raises ValueError on infinite inputs, outcomes other than 0, 1 and NaN, or a horizon without a single known outcome.
    """

    ordered: bool = True
    slow: bool = False
    """Whether one fit takes so long that many are better spread over processes."""

    has_draws: bool = True
    """Whether intervals come from refits under bootstrap weightings, as `fit_draws` makes them."""

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from rows X (n, p) with outcomes y (n, K); `sample_weight` (n,) not negative. Earlier draws are forgotten."""
        inputs, outcomes = self._training_rows(X, y)
        weights = checked_weights(np.ones(len(inputs)) if sample_weight is None else sample_weight, len(inputs))[None]
        solved = self._solved(inputs, outcomes, weights)
        self._forget_draws()
        self.parameters_ = None if solved is None else solved[0]
        self.base_rates_ = base_rates(outcomes, weights)[0]
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """Probabilities (n, K)."""
        check_is_fitted(self, "base_rates_")
        parameters = None if self.parameters_ is None else self.parameters_[None]
        return self._forecast(self._rows(X), parameters, self.base_rates_[None])[0]

    def fit_draws(self, X: ArrayLike, y: ArrayLike, weights: ArrayLike) -> Self:
        """Refit under each of the weightings (B, n) of the rows; they must not be negative."""
        inputs, outcomes = self._training_rows(X, y)
        weightings = checked_weights(weights, len(inputs), dimensions=2)
        self.parameter_draws_ = self._solved(inputs, outcomes, weightings)
        self.base_rate_draws_ = base_rates(outcomes, weightings)
        return self

    def predict_draws(self, X: ArrayLike) -> Floats:
        """Probabilities of each refit (B, n, K); their spread is parameter uncertainty, nothing else."""
        if not hasattr(self, "base_rate_draws_"):
            raise Refused(f"This {type(self).__name__} was saved without refits, so its probabilities have no interval.")
        return self._forecast(self._rows(X), self.parameter_draws_, self.base_rate_draws_)

    @property
    def has_interval(self) -> bool:
        """Whether `interval` can answer."""
        return hasattr(self, "base_rate_draws_") or not self.has_draws

    def interval(self, X: ArrayLike, coverage: float = 0.90) -> tuple[Floats, Floats]:
        """Limits (n, K) that cover `coverage` of the parameter uncertainty; by default quantiles of the refits."""
        low, high = np.quantile(self.predict_draws(X), [(1 - coverage) / 2, (1 + coverage) / 2], axis=0)
        return low, high

    def for_question(self, rise: float | None, horizons: tuple[int, ...] | None) -> Self:
        """This fitted model, answering another rise or other horizons (days; None: its own). Raises Refused: it has no law."""
        raise Refused(
            f"{type(self).__name__} answers only what it was trained on. Models with a law answer any rise and any number of days: "
            "volatility, random_walk, passage and pool."
        )

    def at(self, day: pd.Timestamp) -> Self:
        """This model as it stood at the end of `day`; only one that learns from day to day differs."""
        return self

    def __sklearn_tags__(self) -> Tags:
        """Missing inputs are allowed, outcomes are required and may have several columns."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags

    @abstractmethod
    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats) -> Floats:
        """Parameters (B, q) learnt from complete rows under weightings (B, n); each horizon has a known outcome."""

    @abstractmethod
    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        """Probabilities (B, n, K) of parameters (B, q); rows with missing inputs come as zeros and are overwritten."""

    def _usable(self, inputs: Floats) -> Bools:
        """Whether each row (n,) holds every input the model reads."""
        return np.logical_not(np.isnan(inputs).any(axis=1))

    def without_draws(self) -> Self:
        """A copy without refits, which forecasts and takes little space."""
        model = copy(self)
        model._forget_draws()
        return model

    def _forget_draws(self) -> None:
        for draws in ("parameter_draws_", "base_rate_draws_"):
            self.__dict__.pop(draws, None)

    def _solved(self, inputs: Floats, outcomes: Floats, weights: Floats) -> Floats | None:
        usable = self._usable(inputs)
        if np.isnan(outcomes[usable]).all(axis=0).any():
            return None
        return self._solve(inputs[usable], outcomes[usable], weights[:, usable])

    def _forecast(self, inputs: Floats, parameters: Floats | None, rates: Floats) -> Floats:
        """Probabilities (B, n, K): climatology where an input is missing, and non-decreasing where the model is ordered."""
        full = np.repeat(rates[:, None, :], inputs.shape[-2], axis=1)
        if parameters is not None:
            usable = self._usable(inputs if inputs.ndim == 2 else inputs[0])
            full = np.where(usable[:, None], self._answer(np.nan_to_num(inputs), parameters), full)
        return running_maximum(full) if self.ordered else full

    def _learnt(self) -> Floats:
        check_is_fitted(self, "base_rates_")
        if self.parameters_ is None:
            raise ValueError(f"{type(self).__name__} saw no complete row and learnt nothing but climatology.")
        return self.parameters_

    def _training_rows(self, X: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        inputs = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        outcomes = checked_outcomes(y, type(self).__name__)
        check_consistent_length(inputs, outcomes)
        self.n_outputs_ = outcomes.shape[1]
        return inputs, outcomes

    def _rows(self, X: Any) -> Floats:
        """Checked inputs: a data frame by the names of the fit, an array by position."""
        if hasattr(X, "columns") or not hasattr(self, "feature_names_in_"):
            return validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        inputs = check_array(X, dtype=np.float64, ensure_all_finite="allow-nan")
        if inputs.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {inputs.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_}.")
        return inputs


@dataclass(frozen=True)
class Refits:
    """B fits of one model: their parameters (B, q), None where only climatology can answer, and base rates (B, K)."""

    parameters: Floats | None
    base_rates: Floats


class BatchedModel(HorizonModel):
    """A model whose refits are all solved at once, in milliseconds: every fold can afford its draws, and every rotation its refit.

    Its `_solve` and `_answer` also take inputs (B, n, p) or outcomes (B, n, K), one set a refit, the same cells missing in each.
    """

    def fit_each(self, inputs: Floats, outcomes: Floats, *, near: Refits | None = None) -> Refits:
        """As `fit`, for each of B sets of outcomes (B, n, K) of the same rows (n, p), or of inputs (B, n, p) of the same outcomes.

        The same cells are missing in every set. `near` are fits of similar sets, from which the search begins.
        """
        self.n_outputs_ = outcomes.shape[-1]
        usable = self._usable(inputs if inputs.ndim == 2 else inputs[0])
        rates = base_rates_of_each(inputs, outcomes)
        usable_outcomes = outcomes[..., usable, :]
        if np.isnan(usable_outcomes).all(axis=-2).any():
            return Refits(None, rates)
        start = None if near is None else near.parameters
        weights = np.ones((len(rates), int(usable.sum())))
        return Refits(self._solve(inputs[..., usable, :], usable_outcomes, weights, start), rates)

    def forecast_each(self, inputs: Floats, refits: Refits) -> Floats:
        """Probabilities (B, n, K) of rows (n, p), or of rows (B, n, p) of its own for each refit."""
        return self._forecast(inputs, refits.parameters, refits.base_rates)

    @abstractmethod
    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats, start: Floats | None = None) -> Floats:
        """As for every model; `start` (B, q) is near the answer."""


def base_rates_of_each(inputs: Floats, outcomes: Floats) -> Floats:
    """Base rates (B, K) of B sets of outcomes (B, n, K), or of the same outcomes (n, K) for B sets of inputs (B, n, p)."""
    sets = len(inputs) if inputs.ndim == 3 else len(outcomes)
    return np.broadcast_to(event_shares(outcomes), (sets, outcomes.shape[-1]))


def running_maximum(probabilities: Floats) -> Floats:
    """Probabilities that never fall along the last axis, the horizons."""
    return np.maximum.accumulate(probabilities, axis=-1)


def weighted_sums(weights: Floats, values: Floats | Bools) -> Floats:
    """Weighted sums (B, K) over the rows of values (n, K), or of values (B, n, K), for weightings (B, n)."""
    if values.ndim == 2:
        return np.asarray(weights @ values)
    return np.matmul(weights[:, None, :], values)[:, 0]


def base_rates(outcomes: Floats, weights: Floats) -> Floats:
    """Weighted share of events among known outcomes, (B, K), for outcomes (n, K) or (B, n, K) and weightings (B, n).

    Where a weighting leaves out every known row of a horizon the unweighted share stands.
    """
    known = ~np.isnan(outcomes)
    total = weighted_sums(weights, known)
    plain = np.broadcast_to(event_shares(outcomes), total.shape).copy()
    return np.divide(weighted_sums(weights, np.where(known, outcomes, 0)), total, out=plain, where=total > 0)


def event_shares(outcomes: Floats) -> Floats:
    """Share of events among known outcomes, (K,) or (B, K), for outcomes (n, K) or (B, n, K)."""
    known = ~np.isnan(outcomes)
    return np.asarray(np.where(known, outcomes, 0.0).sum(axis=-2) / known.sum(axis=-2))


def linear_predictor(inputs: Floats, coefficients: Floats) -> Floats:
    """Dot products (B, n) of rows (n, p), or (B, n, p), with coefficients (B, p), added column by column.

    A matrix product would be quicker, but its last bits depend on how many rows are asked at once.
    """
    total = np.zeros((len(coefficients), inputs.shape[-2]))
    for column in range(inputs.shape[-1]):
        total += coefficients[:, column, None] * inputs[..., column]
    return total


def checked_outcomes(y: ArrayLike, model: str) -> Floats:
    """Outcomes as (n, K) of 0, 1 and NaN."""
    if y is None:
        raise ValueError(f"{model} requires y to be passed, but the target y is None.")
    outcomes = check_array(y, dtype=np.float64, ensure_2d=False, ensure_all_finite="allow-nan", input_name="y")
    outcomes = outcomes[:, None] if outcomes.ndim == 1 else outcomes
    strange = outcomes[~np.isnan(outcomes) & (outcomes != 0) & (outcomes != 1)]
    if strange.size:
        raise ValueError(f"Unknown label type: y must hold 0, 1 and NaN, but holds {strange[0]:g}.")
    empty = np.flatnonzero(np.isnan(outcomes).all(axis=0))
    if empty.size:
        raise ValueError(f"No outcome of horizon {empty[0] + 1} of {outcomes.shape[1]} is known: nothing to learn from.")
    return outcomes


def checked_weights(weights: ArrayLike, rows: int, *, dimensions: int = 1) -> Floats:
    """Weights (n,) or (B, n): finite, not negative, not all zero."""
    checked = check_array(weights, dtype=np.float64, ensure_2d=False, input_name="sample_weight")
    if checked.ndim != dimensions or checked.shape[-1] != rows:
        raise ValueError(f"Weights must be {'(B, n)' if dimensions == 2 else '(n,)'} with n = {rows}, but are {checked.shape}.")
    if (checked < 0).any():
        raise ValueError(f"Weights must not be negative, but hold {checked.min():g}.")
    if not checked.any(axis=-1).all():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return checked
