"""Do events come as often as forecast? Recalibration by isotonic regression, and the limits a reliable forecaster stays in."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression
from scipy.stats import norm

from core.arrays import Floats, Ints
from evaluation.bootstrap import horizon_weeks
from evaluation.sample import EvaluationSample

BAND = 0.90
BIN_WIDTH = 0.1
ROUNDING = 1e-9
DRAWS = 1_000
FEWER_DRAWS = 200
"""Enough for a mean and a 95th percentile beside every model of the ladder."""


@dataclass(frozen=True)
class Reliability:
    """Decomposition of the Brier score: miscalibration − discrimination + uncertainty.

    Reliable forecasts look miscalibrated too in few windows: by `by_chance` on average, and by more than `by_chance_high` in 5 % of
    samples. Reference: Dimitriadis, Gneiting & Jordan (2021).
    """

    miscalibration: float
    discrimination: float
    uncertainty: float
    by_chance: float
    by_chance_high: float


@dataclass(frozen=True)
class ReliabilityCurve:
    """Recalibrated share of events at each distinct forecast (m,), with `weeks` rows each.

    `low`, `high`: pointwise range of 90 % of the shares if the forecasts were reliable.
    """

    forecast: Floats
    share: Floats
    weeks: Floats
    low: Floats
    high: Floats
    base_rate: float
    reliability: Reliability


@dataclass(frozen=True)
class Groups:
    """Rows of equal forecast: the forecasts (m,), rows each (m,), all rows in that order (n,) and where each group begins (m,)."""

    forecast: Floats
    weeks: Floats
    order: Ints
    begins: Ints

    def means(self, outcomes: Floats) -> Floats:
        """Share of events (…, m) among outcomes (…, n) of each group."""
        return np.add.reduceat(outcomes[..., self.order], self.begins, axis=-1) / self.weeks

    def recalibrated(self, means: Floats) -> Floats:
        """Shares (m,) that never fall as the forecast rises and fit the groups' own (m,) best. Reference: Ayer et al. (1955)."""
        return np.asarray(isotonic_regression(means, weights=self.weeks).x)

    def brier_gain(self, means: Floats, recalibrated: Floats, probability: Floats | float) -> float:
        """Brier score of `probability` minus that of the recalibrated shares. The squares of the outcomes cancel out."""
        return float(
            (self.weeks * (probability - recalibrated) * (probability + recalibrated - 2 * means)).sum() / self.weeks.sum()
        )

    def miscalibration(self, means: Floats) -> float:
        """Brier score that recalibration would gain."""
        return self.brier_gain(means, self.recalibrated(means), self.forecast)


def group_by_forecast(probability: Floats) -> Groups:
    """Groups of rows with equal forecasts."""
    forecast, begins, weeks = np.unique(np.sort(probability), return_index=True, return_counts=True)
    return Groups(forecast, weeks.astype(float), np.argsort(probability, kind="stable"), begins)


def brier_decomposition(probability: Floats, outcome: Floats) -> tuple[float, float, float]:
    """Miscalibration, discrimination and uncertainty of (n,) rows, NaN of none. First − second + third is the Brier score."""
    if not len(outcome):
        return float("nan"), float("nan"), float("nan")
    grouped, base_rate = group_by_forecast(probability), float(outcome.mean())
    means = grouped.means(outcome)
    discrimination = grouped.brier_gain(means, grouped.recalibrated(means), base_rate)
    return grouped.miscalibration(means), discrimination, base_rate * (1 - base_rate)


def reliable_outcomes(probability: Floats, weeks: Ints, horizon_days: int, draws: int, seed: int) -> Floats:
    """Outcomes (draws, n) as they would come were the forecasts (n,) true, one after another as dependent as windows that overlap.

    A row's event is that the mean of the next h/7 weekly shocks falls below what its forecast asks for: a Gaussian copula that is
    exact for the sign of a driftless sum. weeks: (n,), rising.
    """
    reach = horizon_weeks(horizon_days)
    shocks = np.random.default_rng(seed).normal(size=(draws, int(weeks[-1]) + reach))
    total = np.cumsum(np.pad(shocks, ((0, 0), (1, 0))), axis=1)
    latent = (total[:, reach:] - total[:, :-reach]) / np.sqrt(reach)
    return np.asarray(latent[:, weeks] < norm.ppf(probability), dtype=float)


def reliability(sample: EvaluationSample, name: str, *, seed: int, draws: int = FEWER_DRAWS) -> Reliability:
    """Brier decomposition of a model, with the miscalibration expected by chance."""
    probability = sample.probabilities[name]
    parts = brier_decomposition(probability, sample.outcome)
    if not len(sample.outcome):
        return Reliability(*parts, np.nan, np.nan)
    grouped = group_by_forecast(probability)
    outcomes = reliable_outcomes(probability, sample.weeks(), sample.horizon, draws, seed)
    chance = [grouped.miscalibration(means) for means in grouped.means(outcomes)]
    return Reliability(*parts, float(np.mean(chance)), float(np.quantile(chance, 0.95)))


def reliability_curve(sample: EvaluationSample, name: str, *, seed: int, draws: int = DRAWS) -> ReliabilityCurve:
    """The reliability diagram of a model. Raises ValueError without a known outcome."""
    if not len(sample.outcome):
        raise ValueError(f"No outcome within {sample.horizon} days is known: there is nothing to compare {name} with.")
    grouped = group_by_forecast(sample.probabilities[name])
    outcomes = reliable_outcomes(sample.probabilities[name], sample.weeks(), sample.horizon, draws, seed)
    shares = np.stack([grouped.recalibrated(means) for means in grouped.means(outcomes)])
    low, high = np.quantile(shares, [(1 - BAND) / 2, (1 + BAND) / 2], axis=0)
    return ReliabilityCurve(
        forecast=grouped.forecast,
        share=grouped.recalibrated(grouped.means(sample.outcome)),
        weeks=grouped.weeks,
        low=low,
        high=high,
        base_rate=float(sample.outcome.mean()),
        reliability=reliability(sample, name, seed=seed, draws=draws),
    )


def reliability_bins(probability: Floats, outcome: Floats) -> pd.DataFrame:
    """Mean forecast, share of events and count of rows in each tenth of the scale that holds any; indexed by its lower edge.

    For records too short to recalibrate.
    """
    tenth = np.clip(np.floor(probability / BIN_WIDTH + ROUNDING), 0, round(1 / BIN_WIDTH) - 1) * BIN_WIDTH
    grouped = pd.DataFrame({"probability": probability, "outcome": outcome}).groupby(tenth)
    return grouped.agg(probability=("probability", "mean"), share=("outcome", "mean"), count=("outcome", "size"))
