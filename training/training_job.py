"""What the models of one training share, and what each of them came to."""

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
    """One model: its walk-forward and forecasts, its fit on everything known, its rows of the verification, what chance does with
    it, and by horizon the forecasts of all models it was judged beside."""

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
        """The hash that tells it from any other."""
        return configuration_of(self.name, self.settings)

    @property
    def columns(self) -> list[str]:
        """Inputs it reads, in order."""
        return list(MODELS[self.name].columns)


@dataclass(frozen=True)
class TrainingJob:
    """What all models of one training share. `stale` says why the data gates are closed; `catalogue` lists the features built."""

    settings: TrainSettings
    data: Dataset
    folds: list[Fold]
    stale: list[str]
    catalogue: pd.DataFrame

    @property
    def family(self) -> str:
        """Whose tries its configurations are."""
        return family(self.data.market, self.settings.target)


def stale_index(store: Store, until: pd.Timestamp) -> list[str]:
    """Why the altcoin index isn't fresh; empty if it is."""
    return [line.message for line in freshness(store, until) if line.series == COIN_PRICE.name and not line.fresh]


def closed_gates(job: TrainingJob, columns: Sequence[str]) -> list[str]:
    """Why today's data may not make a champion (a stale index, most inputs missing); empty if they may."""
    last = job.data.X[list(columns)].iloc[-1]
    missing = [name for name in columns if pd.isna(last[name]) or (name in job.data.neutral and job.data.neutral[name].iloc[-1])]
    thin = (
        [f"{len(missing)} of {len(columns)} inputs are missing ({', '.join(missing)})"]
        if len(missing) > MOST_MISSING * len(columns)
        else []
    )
    return job.stale + thin


def headline_row(model: TrainedModel) -> dict[str, Any]:
    """The row a model is judged by."""
    return next((row for row in model.rows if row["horizon"] == judged_horizon(model.settings.horizons)), model.rows[-1])
