"""The rest of a verification: reliability, sharpness, year by year, and what so few windows could have shown."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from training.bands import DRAWS
from training.bootstrap import Interval, skill_interval
from training.dataset import Dataset
from training.detectable import Power, power
from training.judged import CLIMATOLOGY, Judged, judged_horizons
from training.plain import plain
from training.reliability import reliability
from training.scores import Floats, brier_score, effective_sample_size, mean
from training.settings import TrainSettings

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TENTHS = np.linspace(0, 1, 11)


@dataclass(frozen=True)
class Sharpness:
    """How far forecasts move: standard deviation, quantiles by level, rows in each tenth of the scale."""

    sd: float
    quantiles: dict[str, float]
    histogram: list[int]


@dataclass(frozen=True)
class YearRow:
    """One calendar year of forecasts by the day they were issued; skill is against climatology, with a 95 % interval."""

    year: int
    n: int
    n_effective: float
    base_rate: float
    brier: float
    skill_climatology: Interval


def panel_of(
    forecasts: Mapping[str, pd.DataFrame], data: Dataset, settings: TrainSettings, names: Sequence[str] | None = None
) -> dict[tuple[str, int], dict[str, Any]]:
    """Fields to merge into a verification row, by model and horizon; what can't be had is None.

    forecasts: days × horizons of every model and baseline; names: the models to tell of, all of them if None.
    """
    horizons = judged_horizons(forecasts, data.outcomes.events, settings.horizons)
    told = [(name, found) for found in horizons.values() for name in names or forecasts]
    return {(name, found.horizon): plain(panel_fields(found, name, settings.seed)) for name, found in told}


def panel_fields(found: Judged, name: str, seed: int) -> dict[str, Any]:
    """The fields of one model and horizon."""
    powers = {baseline: power_against(found, name, model, seed) for baseline, model in found.baselines.items()}
    return {
        "reliability": asdict(reliability(found, name, seed=seed)),
        "sharpness": asdict(sharpness(found.probabilities[name])),
        "by_year": [asdict(row) for row in by_year(found, name, seed=seed)],
        "minimum_detectable_effect": {baseline: one.minimum_detectable_effect for baseline, one in powers.items()},
        "years_for_0_05": {baseline: one.years_for_0_05 for baseline, one in powers.items()},
    }


def power_against(found: Judged, name: str, baseline: str, seed: int) -> Power:
    """What could have been shown of a model against a baseline."""
    return power(found.loss(name), found.loss(baseline), found.horizon, seed=seed)


def sharpness(probability: Floats) -> Sharpness:
    """Spread of forecasts (n,)."""
    levels = np.quantile(probability, QUANTILES) if len(probability) else np.full(len(QUANTILES), np.nan)
    return Sharpness(
        sd=float(probability.std()) if len(probability) else float("nan"),
        quantiles={f"{level:g}": float(at) for level, at in zip(QUANTILES, levels, strict=True)},
        histogram=[int(count) for count in np.histogram(probability, TENTHS)[0]],
    )


def by_year(found: Judged, name: str, *, seed: int) -> list[YearRow]:
    """A row a calendar year."""
    years = found.days.year.to_numpy()
    return [year_row(found, name, int(year), years == year, seed) for year in np.unique(years)]


def year_row(found: Judged, name: str, year: int, rows: np.ndarray, seed: int) -> YearRow:
    """One year, the marked rows (n,)."""
    outcome, loss, climate = found.outcome[rows], found.loss(name)[rows], found.loss(CLIMATOLOGY)[rows]
    return YearRow(
        year=year,
        n=len(outcome),
        n_effective=effective_sample_size(climate - loss, found.horizon),
        base_rate=mean(outcome),
        brier=brier_score(found.probabilities[name][rows], outcome),
        skill_climatology=skill_interval(loss, climate, found.horizon, seed=seed, draws=DRAWS),
    )
