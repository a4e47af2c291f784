"""Evaluation sample: the forecasts of all models on their common days, and the outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.arrays import Floats
from evaluation.scores import brier_losses

BASELINES = VOLATILITY, CLIMATOLOGY, RANDOM_WALK, MOMENTUM = "volatility", "climatology", "random_walk", "momentum"
"""What every skill is measured against, volatility first; always forecast, whichever models are asked for."""

JUDGED_DAYS, LEVEL = 60, 0.05
"""The horizon by which skill is judged, and below which a p-value counts (STATISTICS 8); all else is descriptive."""


@dataclass(frozen=True)
class EvaluationSample:
    """Forecasts (n,) of each model `horizon` days ahead, issued at the end of `days` (n,), and the outcome (n,), 0 or 1."""

    horizon: int
    days: pd.DatetimeIndex
    probabilities: Mapping[str, Floats]
    outcome: Floats

    def loss(self, name: str) -> Floats:
        """Brier losses (n,) of a model."""
        return brier_losses(self.probabilities[name], self.outcome)

    @property
    def baselines(self) -> dict[str, str]:
        """Each baseline and the model that stands for it: climatology where an outcome has no law of volatility."""
        return {name: name if name in self.probabilities else CLIMATOLOGY for name in BASELINES}

    def weeks(self) -> np.ndarray:
        """Weeks (n,) since the first day; rows may have gaps."""
        return np.asarray((self.days - self.days[:1].min()) // pd.Timedelta(weeks=1)) if len(self.days) else np.empty(0, dtype=int)


def evaluation_sample(forecasts: Mapping[str, pd.DataFrame], events: pd.DataFrame, horizon: int) -> EvaluationSample:
    """One horizon of the forecasts (a model each, days × horizons), on the days with all forecasts and a known outcome."""
    together = pd.DataFrame({name: frame[horizon] for name, frame in forecasts.items()})
    together["outcome"] = events[horizon]
    together = together.dropna()
    outcome = together.pop("outcome").to_numpy()
    return EvaluationSample(
        horizon, pd.DatetimeIndex(together.index), {name: together[name].to_numpy() for name in forecasts}, outcome
    )


def evaluation_samples(
    forecasts: Mapping[str, pd.DataFrame], events: pd.DataFrame, horizons: Sequence[int]
) -> dict[int, EvaluationSample]:
    """Evaluation sample of each horizon, by days."""
    return {days: evaluation_sample(forecasts, events, days) for days in horizons}
