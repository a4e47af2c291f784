"""What would this skill be by chance? Rows are rotated against each other and the model refitted through the whole walk-forward.

Rotating keeps what neighbouring weeks share, which shuffling or a t-test would not. Rules: docs/methods.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from models.hazard import Hazard
from training.bootstrap import weeks_of
from training.outcome import Outcomes
from training.walk_forward import Fold

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LOOKBACK_WEEKS = 36  # 252 days, the longest a feature of the index reaches back: a closer rotation would hold the outcome itself
LEVELS = (0.05, 0.95)
CRYPTO = "crypto_state"


@dataclass(frozen=True)
class Null:
    """A statistic on the true dates (`observed`) and over `shifts` rotations: their mean and 5 to 95 % range.

    `p` = (1 + rotations at least as good) / (1 + rotations), of which about `independent` are.
    """

    observed: float
    p: float
    mean: float
    low: float
    high: float
    shifts: int
    independent: int


@dataclass(frozen=True)
class Ring:
    """Rows whose every horizon is over, in weekly order: days (n,), inputs (n, p), events and the day each was known (n, K)."""

    days: pd.DatetimeIndex
    inputs: Floats
    events: Floats
    known: NDArray[np.datetime64]
    longest_weeks: int

    def shifts(self, nearest: int, most: int | None = None) -> list[int]:
        """Rotations by `nearest` weeks or more, up to where the longest outcome would meet itself from behind.

        `most` keeps that many of them, evenly spread.
        """
        every = range(nearest, len(self.days) - self.longest_weeks + 1)
        if most is None or most >= len(every):
            return list(every)
        return [every[place] for place in np.linspace(0, len(every) - 1, most).round().astype(int)]


def ring_of(X: pd.DataFrame, outcomes: Outcomes) -> Ring:
    """The rows that can be rotated."""
    rows = outcomes.events.index[outcomes.events.notna().all(axis=1)]
    inputs, events, known = X.loc[rows].to_numpy(dtype=np.float64), outcomes.events.loc[rows].to_numpy(), outcomes.known.loc[rows]
    return Ring(pd.DatetimeIndex(rows), inputs, events, known.to_numpy(), weeks_of(max(map(int, outcomes.events.columns))))


Fit = Callable[[Bools, Floats | None], Floats]
Answer = Callable[[Bools, Floats], Floats]


def walk(
    ring: Ring, folds: Sequence[Fold], span: tuple[pd.Timestamp, pd.Timestamp], fit: Fit, answer: Answer
) -> tuple[Floats, Bools]:
    """Forecasts (S, m, K) of all rotations at once on the m rows of `span` the folds cover, and which rows (n,) those are.

    `fit(taught, start)` learns parameters from the cells (n, K) known before a fold, beginning at those of the fold before;
    `answer(test, parameters)` forecasts the rows (n,) of the fold.
    """
    judged, parts = np.zeros(len(ring.days), dtype=bool), []
    parameters: Floats | None = None
    for fold in folds:
        taught = ring.known < fold.test_start.to_datetime64()
        test = np.asarray((ring.days >= max(fold.test_start, span[0])) & (ring.days <= min(fold.test_end, span[1])))
        if test.any() and taught.all(axis=1).any():
            parameters = fit(taught, parameters)
            parts.append(answer(test, parameters))
            judged |= test
    return np.concatenate(parts, axis=1) if parts else np.empty((0, 0, 0)), judged


def shift_null(
    model: Hazard,
    X: pd.DataFrame,
    outcomes: Outcomes,
    folds: Sequence[Fold],
    span: tuple[pd.Timestamp, pd.Timestamp],
    *,
    most: int | None = None,
) -> list[tuple[Null, Null]]:
    """Of each horizon, skill against climatology and AUC, when outcomes are rotated against the inputs X (n, p).

    Dates and purge stay with the rows; model and climatology learn the rotated outcomes. Empty where the rows allow no rotation.
    Small p says that inputs and outcomes depend on each other, which volatility alone can bring about. `most` thins the rotations.
    """
    ring = ring_of(X, outcomes)
    shifts = ring.shifts(ring.longest_weeks + LOOKBACK_WEEKS, most)
    events = rotated(ring.events, [0, *shifts])

    def fit(taught: Bools, start: Floats | None) -> Floats:
        rows = taught.any(axis=1)
        return model.solve_each(ring.inputs[rows], np.where(taught[rows], events[:, rows], np.nan), start=start)

    forecasts, judged = walk(ring, folds, span, fit, lambda test, parameters: model.answer_each(ring.inputs[test], parameters))
    if not shifts or not judged.any():
        return []
    rates, _ = walk(ring, folds, span, lambda taught, _: climate(events, taught), standing)
    skill, ranks = skills(forecasts, rates, events[:, judged]), aucs(forecasts, events[:, judged])
    return [(null_of(skill[:, k], ring), null_of(ranks[:, k], ring)) for k in range(events.shape[2])]


def claim_null(
    model: Hazard,
    X: pd.DataFrame,
    outcomes: Outcomes,
    folds: Sequence[Fold],
    span: tuple[pd.Timestamp, pd.Timestamp],
    *,
    most: int | None = None,
) -> list[Null]:
    """Of each horizon, skill against the same model on crypto's state alone, when all other inputs are rotated together.

    It asks what small caps, volume and liquidity add to what crypto already shows.
    """
    ring, own = ring_of(X, outcomes), X.columns == CRYPTO
    shifts = ring.shifts(ring.longest_weeks, most)
    inputs = np.where(own, ring.inputs, rotated(ring.inputs, [0, *shifts]))
    crypto = ring.inputs[None, :, own]
    forecasts, judged = walk(ring, folds, span, *fixed_outcomes(model, ring, inputs))
    alone, _ = walk(ring, folds, span, *fixed_outcomes(model, ring, crypto))
    if not shifts or not judged.any():
        return []
    skill = skills(forecasts, alone, ring.events[judged][None])
    return [null_of(skill[:, k], ring) for k in range(ring.events.shape[1])]


def fixed_outcomes(model: Hazard, ring: Ring, inputs: Floats) -> tuple[Fit, Answer]:
    """Fit and answer for inputs (S, n, p) that differ from rotation to rotation, with the true outcomes."""

    def fit(taught: Bools, start: Floats | None) -> Floats:
        rows = taught.any(axis=1)
        return model.solve_rotated(inputs[:, rows], np.where(taught[rows], ring.events[rows], np.nan), start=start)

    return fit, lambda test, parameters: model.answer_each(inputs[:, test], parameters)


def rotated(values: Floats, shifts: Sequence[int]) -> Floats:
    """Values (n, …) of each row standing `shift` rows later, (S, n, …)."""
    return np.stack([np.roll(values, shift, axis=0) for shift in shifts])


def climate(events: Floats, taught: Bools) -> Floats:
    """Base rates (S, K) among the taught cells."""
    return np.asarray((events * taught).sum(axis=1) / taught.sum(axis=0))


def standing(test: Bools, rates: Floats) -> Floats:
    """The same rates (S, K) for every row."""
    return np.repeat(rates[:, None, :], int(test.sum()), axis=1)


def skills(forecasts: Floats, reference: Floats, events: Floats) -> Floats:
    """Brier skill (S, K) of forecasts (S, m, K) against a reference."""
    return np.asarray(1 - ((forecasts - events) ** 2).sum(axis=1) / ((reference - events) ** 2).sum(axis=1))


def aucs(forecasts: Floats, events: Floats) -> Floats:
    """Area under the ROC curve (S, K), NaN where all events are alike."""
    positive = events.sum(axis=1)
    ranks = (rankdata(forecasts, axis=1) * events).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((ranks - positive * (positive + 1) / 2) / (positive * (events.shape[1] - positive)))


def null_of(statistic: Floats, ring: Ring) -> Null:
    """Summary of a statistic (S,) whose first value is the true one; what can't be had counts as good."""
    true, by_chance = float(statistic[0]), statistic[1:]
    low, high = np.nanquantile(by_chance, LEVELS)
    return Null(
        observed=true,
        p=float((1 + (~(by_chance < true)).sum()) / len(statistic)),
        mean=float(np.nanmean(by_chance)),
        low=float(low),
        high=float(high),
        shifts=len(by_chance),
        independent=len(ring.days) // ring.longest_weeks,
    )
