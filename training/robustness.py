"""Robustness of a verification: without each block or market cycle, by year, sharpness, reliability, detectable skill."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.arrays import Floats
from core.json import plain
from evaluation.bootstrap import BAND_DRAWS, Interval, skill_interval
from evaluation.comparison import minimum_detectable_effect
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
"""Blocks of inputs left out in turn: each single one, and all blocks of the claim together."""


@dataclass(frozen=True)
class BlockContribution:
    """Contribution of a `block` at a horizon (days): `incremental` is the skill against climatology with it less the skill without
    it."""

    model: str
    horizon: int
    block: str
    n: int
    brier: float
    brier_without: float
    incremental: Interval

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers; missing values are None."""
        return plain(asdict(self))


def ablation(
    data: Dataset, settings: TrainSettings, folds: Sequence[Fold], span: tuple[pd.Timestamp, pd.Timestamp]
) -> list[BlockContribution]:
    """Contribution of each block of the default model, a row per horizon and block, judged on the days of `span`."""
    forecasts = {name: walk.loc[span[0] : span[1]] for name, walk in walks(data, settings, folds).items()}
    model, rows = default_model(settings.outcome), []
    for sample in evaluation_samples(forecasts, data.outcomes.events, settings.horizons).values():
        whole, climatology = sample.loss(WHOLE), sample.loss(CLIMATOLOGY)
        for block in LEFT_OUT:
            without = sample.loss(block)
            # With climatology's loss less the gain as the loss, 1 − Σ / Σ is the difference of the two skills.
            gain = skill_interval(climatology - (without - whole), climatology, sample.horizon, seed=settings.seed)
            brier, brier_without = float(whole.mean()), float(without.mean())
            rows.append(BlockContribution(model, sample.horizon, block, len(whole), brier, brier_without, incremental=gain))
    return rows


def walks(data: Dataset, settings: TrainSettings, folds: Sequence[Fold]) -> dict[str, pd.DataFrame]:
    """Forecasts (days × horizons) by name: climatology, the whole default model, and the model without each block."""
    spec = MODELS[default_model(settings.outcome)]
    without = {block: [column for column in spec.columns if column not in removed] for block, removed in LEFT_OUT.items()}

    def walk(name: str, columns: Sequence[str]) -> pd.DataFrame:
        def make() -> HorizonModel:
            return MODELS[name].for_target(settings.target)

        return forecast(make, data.X[list(columns)], data.outcomes, folds).probabilities

    climatology = walk(CLIMATOLOGY, MODELS[CLIMATOLOGY].columns)
    reduced = {block: walk(spec.name, columns) for block, columns in without.items()}
    return {CLIMATOLOGY: climatology, WHOLE: walk(spec.name, spec.columns), **reduced}


LOOKBACK = pd.Timedelta(days=252)
"""The longest lookback of a feature of the index: the inputs of an earlier row would contain prices of the cycle."""


@dataclass(frozen=True)
class Cycle:
    """A rise and fall of the market, from `first` to `last`, both days included."""

    name: str
    first: pd.Timestamp
    last: pd.Timestamp


CYCLES = (
    Cycle("2017–18", pd.Timestamp("2017-01-01"), pd.Timestamp("2018-12-31")),
    Cycle("2020–21", pd.Timestamp("2020-01-01"), pd.Timestamp("2021-12-31")),
    Cycle("2023–24", pd.Timestamp("2023-01-01"), pd.Timestamp("2024-12-31")),
)


@dataclass(frozen=True)
class CycleScores:
    """Scores of a model at one horizon in a cycle that it wasn't trained on; it was trained on `n_train` rows outside.

    `gain` is 1 − Brier score / Brier score of the base rate outside the cycle, with a 95 % interval.
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
        """Plain numbers; missing values are None."""
        return plain(asdict(self))


def leave_one_cycle_out(data: Dataset, settings: TrainSettings, names: Sequence[str]) -> list[CycleScores]:
    """A row per model, horizon and cycle; none for a cycle without rows or with less than a year of training rows outside it."""
    return [row for cycle in CYCLES for row in judge_cycle(data, settings, names, cycle)]


def judge_cycle(data: Dataset, settings: TrainSettings, names: Sequence[str], cycle: Cycle) -> list[CycleScores]:
    """Scores of all models in one cycle that they weren't trained on."""
    events = outside(data.outcomes, cycle)
    if data.X.loc[cycle.first : cycle.last].empty or (events.notna().sum() < LEAST_TRAINING_ROWS).any():
        return []
    all_names = dict.fromkeys([CLIMATOLOGY, *names])
    forecasts = {name: forecast_cycle(data, settings, name, cycle, events) for name in all_names}
    horizons = evaluation_samples(forecasts, data.outcomes.events, settings.horizons).values()
    return [
        CycleScores(
            model=name,
            horizon=sample.horizon,
            cycle=cycle.name,
            n_train=int(events[sample.horizon].count()),
            n=len(sample.outcome),
            n_effective=effective_sample_size(sample.loss(CLIMATOLOGY) - sample.loss(name), sample.horizon),
            base_rate=mean(sample.outcome),
            brier=brier_score(sample.probabilities[name], sample.outcome),
            gain=skill_interval(sample.loss(name), sample.loss(CLIMATOLOGY), sample.horizon, seed=settings.seed),
        )
        for sample in horizons
        for name in names
    ]


def outside(outcomes: Outcomes, cycle: Cycle) -> pd.DataFrame:
    """Events (rows, K) known before the cycle began, or of rows so late that their inputs contain no price of the cycle's
    outcomes."""
    last_known = outcomes.known.loc[cycle.first : cycle.last].max().max()
    after = pd.DatetimeIndex(outcomes.events.index) - LOOKBACK > last_known
    return outcomes.events.where((outcomes.known < cycle.first) | after[:, None]).dropna(how="all")


def forecast_cycle(data: Dataset, settings: TrainSettings, name: str, cycle: Cycle, events: pd.DataFrame) -> pd.DataFrame:
    """Forecasts (days × horizons) for the cycle, from one model trained outside it."""
    spec = MODELS[name]
    inputs = data.X[list(spec.columns)]
    model = fitted(spec.for_target(settings.target), inputs.loc[events.index], events)
    return answers(model, inputs.loc[cycle.first : cycle.last], events.columns)


QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TENTHS = np.linspace(0, 1, 11)


@dataclass(frozen=True)
class Sharpness:
    """Spread of forecasts: standard deviation, quantiles by level, number of rows in each tenth of 0–1."""

    sd: float
    quantiles: dict[str, float]
    histogram: list[int]


@dataclass(frozen=True)
class YearRow:
    """Scores of the forecasts issued in one calendar year; skill is against climatology, with a 95 % interval."""

    year: int
    n: int
    n_effective: float
    base_rate: float
    brier: float
    skill_climatology: Interval


def panel_of(
    forecasts: Mapping[str, pd.DataFrame], data: Dataset, settings: TrainSettings, names: Sequence[str] | None = None
) -> dict[tuple[str, int], dict[str, Any]]:
    """Extra fields of the verification rows, by model and horizon; missing values are None.

    forecasts: days × horizons of every model and baseline; names: the models to report, all of them if None.
    """
    horizons = evaluation_samples(forecasts, data.outcomes.events, settings.horizons)
    return {
        (name, sample.horizon): plain(panel_fields(sample, name, settings.seed))
        for sample in horizons.values()
        for name in names or forecasts
    }


def panel_fields(sample: EvaluationSample, name: str, seed: int) -> dict[str, Any]:
    """Reliability, sharpness, years and detectable skill of one model at the horizon of the sample."""
    powers = {
        baseline: minimum_detectable_effect(sample.loss(name), sample.loss(model), sample.horizon, seed=seed)
        for baseline, model in sample.baselines.items()
    }
    return {
        "reliability": asdict(reliability(sample, name, seed=seed)),
        "sharpness": asdict(sharpness(sample.probabilities[name])),
        "by_year": [asdict(row) for row in by_year(sample, name, seed=seed)],
        "minimum_detectable_effect": {baseline: power.minimum_detectable_effect for baseline, power in powers.items()},
        "years_for_0_05": {baseline: power.years_for_0_05 for baseline, power in powers.items()},
    }


def sharpness(probability: Floats) -> Sharpness:
    """Spread of the forecasts (n,) of one model."""
    levels = np.quantile(probability, QUANTILES) if len(probability) else np.full(len(QUANTILES), np.nan)
    return Sharpness(
        sd=float(probability.std()) if len(probability) else float("nan"),
        quantiles={f"{level:g}": float(value) for level, value in zip(QUANTILES, levels, strict=True)},
        histogram=[int(count) for count in np.histogram(probability, TENTHS)[0]],
    )


def by_year(sample: EvaluationSample, name: str, *, seed: int) -> list[YearRow]:
    """Scores of one model by calendar year."""
    years, rows = sample.days.year.to_numpy(), []
    for year in np.unique(years):
        within = years == year
        outcome, loss, climatology = sample.outcome[within], sample.loss(name)[within], sample.loss(CLIMATOLOGY)[within]
        rows.append(
            YearRow(
                year=int(year),
                n=len(outcome),
                n_effective=effective_sample_size(climatology - loss, sample.horizon),
                base_rate=mean(outcome),
                brier=brier_score(sample.probabilities[name][within], outcome),
                skill_climatology=skill_interval(loss, climatology, sample.horizon, seed=seed, draws=BAND_DRAWS),
            )
        )
    return rows
