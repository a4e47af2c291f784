"""The inputs that all models of a training share, and the result of each model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.target import judged_horizon
from evaluation.sample import EvaluationSample
from models.base import HorizonModel
from models.catalog import MODELS
from sources.quality import freshness
from sources.series import COIN_PRICE
from sources.store import Store
from training.dataset import Dataset
from training.null_results import NullResults, configuration_of
from training.settings import TrainSettings, family
from training.walk_forward import Fold, WalkForward

MOST_MISSING = 0.5
"""Share of a model's inputs that may be missing on the last day for it to become champion."""


@dataclass(frozen=True)
class TrainedModel:
    """Result of one model: walk-forward, forecasts, final fit on all known outcomes, verification rows and null results.

    `judged` holds the samples by horizon (days), with the forecasts of all models that were judged together.
    """

    name: str
    walk: WalkForward
    forecasts: pd.DataFrame
    final: HorizonModel
    rows: list[dict[str, Any]]
    settings: TrainSettings
    nulls: NullResults | None
    judged: Mapping[int, EvaluationSample]

    @property
    def configuration(self) -> str:
        """Hash of the model, its parameters, inputs and target."""
        return configuration_of(self.name, self.settings)

    @property
    def columns(self) -> list[str]:
        """Names of its inputs, in order."""
        return list(MODELS[self.name].columns)


@dataclass(frozen=True)
class TrainingJob:
    """Inputs of a training. `stale` holds reasons why the data are too old; `catalogue` lists the features built."""

    settings: TrainSettings
    data: Dataset
    folds: list[Fold]
    stale: list[str]
    catalogue: pd.DataFrame

    @property
    def family(self) -> str:
        """The family of trials: target and market."""
        return family(self.data.market, self.settings.target)


def stale_index(store: Store, until: pd.Timestamp) -> list[str]:
    """Reasons why the altcoin index isn't fresh; empty if it is."""
    return [line.message for line in freshness(store, until) if line.series == COIN_PRICE.name and not line.fresh]


def closed_gates(job: TrainingJob, columns: Sequence[str]) -> list[str]:
    """Reasons why today's data allow no new champion (a stale index, most inputs missing); empty if they allow one."""
    last = job.data.X[list(columns)].iloc[-1]
    missing = [name for name in columns if pd.isna(last[name]) or (name in job.data.neutral and job.data.neutral[name].iloc[-1])]
    if len(missing) <= MOST_MISSING * len(columns):
        return job.stale
    return [*job.stale, f"{len(missing)} of {len(columns)} inputs are missing ({', '.join(missing)})"]


def headline_row(model: TrainedModel) -> dict[str, Any]:
    """The verification row at the horizon judged."""
    return next((row for row in model.rows if row["horizon"] == judged_horizon(model.settings.horizons)), model.rows[-1])
