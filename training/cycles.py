"""Does a model rest on one market cycle? Each is left out in turn and forecast from all others, the later ones among them.

That uses the future, so it speaks of robustness only and is never called skill (docs/panel.md).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from models.catalog import MODELS
from training.bootstrap import Interval, skill_interval
from training.dataset import Dataset
from training.judged import CLIMATOLOGY, Judged, judged_horizons
from training.outcome import Outcomes
from training.plain import plain
from training.scores import brier_score, effective_sample_size, mean
from training.settings import TrainSettings
from training.walk_forward import LEAST_TRAINING_ROWS, answers, fitted

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

    def to_json(self) -> dict[str, Any]:
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
    horizons = judged_horizons(forecasts, data.outcomes.events, settings.horizons).values()
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
    model = fitted(spec.asked(settings.target), inputs.loc[events.index], events)
    return answers(model, inputs.loc[cycle.first : cycle.last], events.columns)


def left_out(found: Judged, name: str, cycle: Cycle, n_train: int, seed: int) -> LeftOut:
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
