"""The rest of a verification: without each block or market cycle, by year, sharpness, reliability, detectable skill."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.arrays import Floats
from core.json import plain
from evaluation.bootstrap import BAND_DRAWS, Interval, skill_interval
from evaluation.comparison import DetectableEffect, minimum_detectable_effect
from evaluation.reliability import reliability
from evaluation.sample import CLIMATOLOGY, EvaluationSample, evaluation_samples
from evaluation.scores import brier_score, effective_sample_size, mean
from models.base import HorizonModel
from models.catalog import CLAIM, COMPOSITES, MODELS, default_model
from training.dataset import Dataset, Outcomes
from training.settings import TrainSettings
from training.walk_forward import LEAST_TRAINING_ROWS, Fold, answers, fitted, forecast

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

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers; what can't be had is None."""
        return plain(asdict(self))


def ablation(
    data: Dataset, settings: TrainSettings, folds: Sequence[Fold], span: tuple[pd.Timestamp, pd.Timestamp]
) -> list[Ablated]:
    """A row a horizon and block of the default model, judged on the days of `span`."""
    forecasts = {name: walk.loc[span[0] : span[1]] for name, walk in walks(data, settings, folds).items()}
    horizons = evaluation_samples(forecasts, data.outcomes.events, settings.horizons)
    model = default_model(settings.outcome)
    return [ablated(found, model, block, settings.seed) for found in horizons.values() for block in LEFT_OUT]


def walks(data: Dataset, settings: TrainSettings, folds: Sequence[Fold]) -> dict[str, pd.DataFrame]:
    """Forecasts of climatology, of the whole default model, and of it without each block."""
    spec = MODELS[default_model(settings.outcome)]
    without = {block: [column for column in spec.columns if column not in gone] for block, gone in LEFT_OUT.items()}

    def walk(name: str, columns: Sequence[str]) -> pd.DataFrame:
        def make() -> HorizonModel:
            return MODELS[name].for_target(settings.target)

        return forecast(make, data.X[list(columns)], data.outcomes, folds).probabilities

    climate = walk(CLIMATOLOGY, MODELS[CLIMATOLOGY].columns)
    reduced = {block: walk(spec.name, columns) for block, columns in without.items()}
    return {CLIMATOLOGY: climate, WHOLE: walk(spec.name, spec.columns), **reduced}


def ablated(found: EvaluationSample, model: str, block: str, seed: int) -> Ablated:
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


LOOKBACK = pd.Timedelta(days=252)
"""The longest a feature of the index reaches back: a row sooner after the cycle would show the model what it is asked."""


@dataclass(frozen=True)
class Cycle:
    """A rise and a fall; both days belong to it."""

    name: str
    first: pd.Timestamp
    last: pd.Timestamp


CYCLES = (
    Cycle("2017–18", pd.Timestamp("2017-01-01"), pd.Timestamp("2018-12-31")),
    Cycle("2020–21", pd.Timestamp("2020-01-01"), pd.Timestamp("2021-12-31")),
    Cycle("2023–24", pd.Timestamp("2023-01-01"), pd.Timestamp("2024-12-31")),
)


@dataclass(frozen=True)
class LeftOut:
    """One model, horizon and cycle it was not trained on, from `n_train` rows around it.

    `gain` is 1 − its Brier score / that of the base rate outside the cycle, with a 95 % interval.
    """

    model: str
    horizon: int
    cycle: str
    n_train: int
    n: int
    n_effective: float
    base_rate: float
    brier: float
    gain: Interval

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers; what can't be had is None."""
        return plain(asdict(self))


def leave_one_cycle_out(data: Dataset, settings: TrainSettings, names: Sequence[str]) -> list[LeftOut]:
    """A row a model, horizon and cycle; a cycle with no rows, or with less than a year of training rows outside, has none."""
    return [row for cycle in CYCLES for row in judge_cycle(data, settings, names, cycle)]


def judge_cycle(data: Dataset, settings: TrainSettings, names: Sequence[str], cycle: Cycle) -> list[LeftOut]:
    """All models on one cycle."""
    events = outside(data.outcomes, cycle)
    if data.X.loc[cycle.first : cycle.last].empty or (events.notna().sum() < LEAST_TRAINING_ROWS).any():
        return []
    every = dict.fromkeys([CLIMATOLOGY, *names])
    forecasts = {name: forecast_cycle(data, settings, name, cycle, events) for name in every}
    horizons = evaluation_samples(forecasts, data.outcomes.events, settings.horizons).values()
    return [left_out(found, name, cycle, int(events[found.horizon].count()), settings.seed) for found in horizons for name in names]


def outside(outcomes: Outcomes, cycle: Cycle) -> pd.DataFrame:
    """Events (rows, K) known before the cycle began, and those of rows whose inputs look back on nothing the cycle is asked."""
    asked = outcomes.known.loc[cycle.first : cycle.last].max().max()
    after = pd.DatetimeIndex(outcomes.events.index) - LOOKBACK > asked
    return outcomes.events.where((outcomes.known < cycle.first) | after[:, None]).dropna(how="all")


def forecast_cycle(data: Dataset, settings: TrainSettings, name: str, cycle: Cycle, events: pd.DataFrame) -> pd.DataFrame:
    """Forecasts (days × horizons) of the cycle by one model trained outside it."""
    spec = MODELS[name]
    inputs = data.X[list(spec.columns)]
    model = fitted(spec.for_target(settings.target), inputs.loc[events.index], events)
    return answers(model, inputs.loc[cycle.first : cycle.last], events.columns)


def left_out(found: EvaluationSample, name: str, cycle: Cycle, n_train: int, seed: int) -> LeftOut:
    """One row."""
    loss, climate = found.loss(name), found.loss(CLIMATOLOGY)
    return LeftOut(
        model=name,
        horizon=found.horizon,
        cycle=cycle.name,
        n_train=n_train,
        n=len(loss),
        n_effective=effective_sample_size(climate - loss, found.horizon),
        base_rate=mean(found.outcome),
        brier=brier_score(found.probabilities[name], found.outcome),
        gain=skill_interval(loss, climate, found.horizon, seed=seed),
    )


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
    horizons = evaluation_samples(forecasts, data.outcomes.events, settings.horizons)
    told = [(name, found) for found in horizons.values() for name in names or forecasts]
    return {(name, found.horizon): plain(panel_fields(found, name, settings.seed)) for name, found in told}


def panel_fields(found: EvaluationSample, name: str, seed: int) -> dict[str, Any]:
    """The fields of one model and horizon."""
    powers = {baseline: power_against(found, name, model, seed) for baseline, model in found.baselines.items()}
    return {
        "reliability": asdict(reliability(found, name, seed=seed)),
        "sharpness": asdict(sharpness(found.probabilities[name])),
        "by_year": [asdict(row) for row in by_year(found, name, seed=seed)],
        "minimum_detectable_effect": {baseline: one.minimum_detectable_effect for baseline, one in powers.items()},
        "years_for_0_05": {baseline: one.years_for_0_05 for baseline, one in powers.items()},
    }


def power_against(found: EvaluationSample, name: str, baseline: str, seed: int) -> DetectableEffect:
    """What could have been shown of a model against a baseline."""
    return minimum_detectable_effect(found.loss(name), found.loss(baseline), found.horizon, seed=seed)


def sharpness(probability: Floats) -> Sharpness:
    """Spread of forecasts (n,)."""
    levels = np.quantile(probability, QUANTILES) if len(probability) else np.full(len(QUANTILES), np.nan)
    return Sharpness(
        sd=float(probability.std()) if len(probability) else float("nan"),
        quantiles={f"{level:g}": float(at) for level, at in zip(QUANTILES, levels, strict=True)},
        histogram=[int(count) for count in np.histogram(probability, TENTHS)[0]],
    )


def by_year(found: EvaluationSample, name: str, *, seed: int) -> list[YearRow]:
    """A row a calendar year."""
    years = found.days.year.to_numpy()
    return [year_row(found, name, int(year), years == year, seed) for year in np.unique(years)]


def year_row(found: EvaluationSample, name: str, year: int, rows: np.ndarray, seed: int) -> YearRow:
    """One year, the marked rows (n,)."""
    outcome, loss, climate = found.outcome[rows], found.loss(name)[rows], found.loss(CLIMATOLOGY)[rows]
    return YearRow(
        year=year,
        n=len(outcome),
        n_effective=effective_sample_size(climate - loss, found.horizon),
        base_rate=mean(outcome),
        brier=brier_score(found.probabilities[name][rows], outcome),
        skill_climatology=skill_interval(loss, climate, found.horizon, seed=seed, draws=BAND_DRAWS),
    )
