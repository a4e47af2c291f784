"""What does each block add? The walk-forward again without it, on the same days."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from models.base import HorizonModel
from models.catalog import CLAIM, COMPOSITES, MODELS, default_model
from training.bootstrap import Interval, skill_interval
from training.dataset import Dataset
from training.judged import CLIMATOLOGY, Judged, judged_horizons
from training.plain import plain
from training.settings import TrainSettings
from training.walk_forward import Fold, forecast

WHOLE = "whole"
LEFT_OUT: Mapping[str, tuple[str, ...]] = {**{block: (block,) for block in COMPOSITES}, "all but crypto_state": CLAIM}
"""What is left out in turn: each block, and all that the claim speaks of at once."""


@dataclass(frozen=True)
class Ablated:
    """What `block` adds at a horizon: skill against climatology with it less that without, `incremental`, with a 95 % interval."""

    model: str
    horizon: int
    block: str
    n: int
    brier: float
    brier_without: float
    incremental: Interval

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; what can't be had is None."""
        return plain(asdict(self))


def ablation(
    data: Dataset, settings: TrainSettings, folds: Sequence[Fold], span: tuple[pd.Timestamp, pd.Timestamp]
) -> list[Ablated]:
    """A row a horizon and block of the default model, judged on the days of `span`."""
    forecasts = {name: walk.loc[span[0] : span[1]] for name, walk in walks(data, settings, folds).items()}
    horizons = judged_horizons(forecasts, data.outcomes.events, settings.horizons)
    model = default_model(settings.outcome)
    return [ablated(found, model, block, settings.seed) for found in horizons.values() for block in LEFT_OUT]


def walks(data: Dataset, settings: TrainSettings, folds: Sequence[Fold]) -> dict[str, pd.DataFrame]:
    """Forecasts of climatology, of the whole default model, and of it without each block."""
    spec = MODELS[default_model(settings.outcome)]
    without = {block: [column for column in spec.columns if column not in gone] for block, gone in LEFT_OUT.items()}

    def walk(name: str, columns: Sequence[str]) -> pd.DataFrame:
        def make() -> HorizonModel:
            return MODELS[name].asked(settings.target)

        return forecast(make, data.X[list(columns)], data.outcomes, folds).probabilities

    climate = walk(CLIMATOLOGY, MODELS[CLIMATOLOGY].columns)
    reduced = {block: walk(spec.name, columns) for block, columns in without.items()}
    return {CLIMATOLOGY: climate, WHOLE: walk(spec.name, spec.columns), **reduced}


def ablated(found: Judged, model: str, block: str, seed: int) -> Ablated:
    """One row. What is judged like a loss is climatology's less the gain, so that 1 − Σ / Σ is the difference of two skills."""
    whole, without, climate = found.loss(WHOLE), found.loss(block), found.loss(CLIMATOLOGY)
    return Ablated(
        model=model,
        horizon=found.horizon,
        block=block,
        n=len(whole),
        brier=float(whole.mean()),
        brier_without=float(without.mean()),
        incremental=skill_interval(climate - (without - whole), climate, found.horizon, seed=seed),
    )
