"""Expanding walk-forward, refitted each quarter, purged by the time an outcome was known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import cast

import numpy as np
import pandas as pd

from core.arrays import Floats
from core.errors import LeakFound, MissingData
from evaluation.bootstrap import block_weights, horizon_weeks
from models.base import HorizonModel
from models.forecaster import FoldModel
from models.parallel import run_in_parallel
from models.pool import Pool, earned_weights
from training.dataset import Outcomes

LEAST_TRAINING_ROWS = 52


@dataclass(frozen=True)
class Fold:
    """A span of days (both included) forecast by a model that knows only what was known before `test_start`."""

    test_start: pd.Timestamp
    test_end: pd.Timestamp


@dataclass(frozen=True)
class Draws:
    """How many block-bootstrap refits stand behind an interval, and the seed that drew them; 0 is none."""

    count: int = 0
    seed: int = 7

    def weights(self, rows: int, horizons: Sequence[int]) -> Floats:
        """(count, rows), blocks as long as the longest horizon."""
        return block_weights(rows, horizon_weeks(max(horizons)), self.count, np.random.default_rng(self.seed))


@dataclass(frozen=True)
class WalkForward:
    """Out-of-sample forecasts (days × horizons), the model of each fold and the base rates (K) it knew."""

    probabilities: pd.DataFrame
    models: list[FoldModel]
    base_rates: list[list[float]]


def quarters(first: pd.Timestamp, last: pd.Timestamp) -> list[Fold]:
    """Folds that cover `first` to `last`, each beginning with a quarter."""
    begin = first.to_period("Q").start_time
    starts = [*pd.date_range(begin, last, freq="QS")]
    return [Fold(start, min((start + pd.offsets.QuarterEnd(0)).normalize(), last)) for start in starts]


def usable(folds: Sequence[Fold], outcomes: Outcomes) -> list[Fold]:
    """Folds with at least a year of training outcomes at every horizon. Raises MissingData if there is none."""
    kept = [fold for fold in folds if has_training_rows(fold, outcomes)]
    if not kept:
        span = f"{folds[0].test_start:%Y-%m-%d} to {folds[-1].test_end:%Y-%m-%d}" if folds else "the days asked for"
        raise MissingData(
            f"Nothing can be forecast in {span}: no quarter of it has {LEAST_TRAINING_ROWS} weeks of known outcomes before it."
        )
    return kept


def has_training_rows(fold: Fold, outcomes: Outcomes) -> bool:
    """Whether a year of training outcomes was known before a fold, at every horizon."""
    return bool((purged(outcomes, fold.test_start).notna().sum() >= LEAST_TRAINING_ROWS).all())


def purged(outcomes: Outcomes, test_start: pd.Timestamp) -> pd.DataFrame:
    """Outcomes a model may learn from: cell (t, k) only where it was known before the test began, the rest NaN."""
    return outcomes.events.where(outcomes.known < test_start)


def require_purged(events: pd.DataFrame, known: pd.DataFrame, test_start: pd.Timestamp) -> None:
    """Raise LeakFound if a training outcome (n, K) was known only when the test had begun."""
    late = events.notna() & (known.loc[events.index] >= test_start)
    if late.to_numpy().any():
        at, column = np.argwhere(late.to_numpy())[0]
        row, horizon = late.index[at], late.columns[column]
        raise LeakFound(
            f"The outcome of {row:%Y-%m-%d} within {horizon} days was known on {known.loc[row, horizon]:%Y-%m-%d}, "
            f"but is used to forecast from {test_start:%Y-%m-%d}."
        )


def training_rows(outcomes: Outcomes, test_start: pd.Timestamp) -> pd.DataFrame:
    """Rows that teach at least one horizon, checked against the clock."""
    events = purged(outcomes, test_start).dropna(how="all")
    require_purged(events, outcomes.known, test_start)
    return events


def describe(folds: Sequence[Fold], outcomes: Outcomes) -> pd.DataFrame:
    """One row a fold: rows and known outcomes it trains on, the last label_end among them, the days it tests."""
    return pd.DataFrame([described(fold, outcomes) for fold in folds])


def described(fold: Fold, outcomes: Outcomes) -> dict[str, object]:
    """One row of `describe`."""
    events = training_rows(outcomes, fold.test_start)
    ends = outcomes.label_end.loc[events.index].where(events.notna())
    return {
        "test_start": fold.test_start,
        "test_end": fold.test_end,
        "n_train": len(events),
        "known_outcomes": int(events.notna().to_numpy().sum()),
        "last_label_end": ends.max().max(),
    }


def base_rates(events: pd.DataFrame) -> list[float]:
    """Share of events among known outcomes, a horizon each."""
    return [float(rate) for rate in events.mean()]


def forecast(
    make: Callable[[], HorizonModel], X: pd.DataFrame, outcomes: Outcomes, folds: Sequence[Fold], *, draws: Draws | None = None
) -> WalkForward:
    """Fit a fresh model for each fold and forecast the rows of X (n, p) that lie in its span.

    With `draws` each fold's model is refitted under that many bootstrap weightings too. A pool follows the record of its experts.
    """
    if isinstance(make(), Pool):
        return forecast_pool(cast(Callable[[], Pool], make), X, outcomes, folds)
    taught = [training_rows(outcomes, fold.test_start) for fold in folds]
    rows = [(make(), X.loc[events.index], events, draws) for events in taught]
    fits = list(run_in_parallel(fitted, rows) if rows[0][0].slow else starmap(fitted, rows))
    parts = [
        answers(model, X.loc[fold.test_start : fold.test_end], outcomes.events.columns)
        for model, fold in zip(fits, folds, strict=True)
    ]
    models = [FoldModel(model, fold.test_start, fold.test_end) for model, fold in zip(fits, folds, strict=True)]
    return WalkForward(pd.concat(parts), models, [base_rates(events) for events in taught])


def forecast_pool(make: Callable[[], Pool], X: pd.DataFrame, outcomes: Outcomes, folds: Sequence[Fold]) -> WalkForward:
    """As `forecast`: a pool is trained at each fold; its experts' weights move each week with what became known of their forecasts.

    The record of the experts begins with the first quarter that has enough training rows, however much earlier than `folds`.
    """
    all_folds = [*record_folds(folds, outcomes), *folds]
    rows = [training_rows(outcomes, fold.test_start) for fold in all_folds]
    pools = [make().fit(X.loc[events.index], events.to_numpy()) for events in rows]
    tests = [X.loc[fold.test_start : fold.test_end] for fold in all_folds]
    experts = np.concatenate([pool.experts(test) for pool, test in zip(pools, tests, strict=True) if len(test)], axis=1)
    days = pd.DatetimeIndex(np.concatenate([test.index for test in tests]))
    horizons = [int(number) for number in outcomes.events.columns]
    known = outcomes.known.loc[days].to_numpy()
    weights = earned_weights(experts, outcomes.events.loc[days].to_numpy(), known, days.to_numpy(), horizons)
    mixed = pd.DataFrame(np.einsum("nm,mnk->nk", weights, experts), days, outcomes.events.columns)
    models = [
        FoldModel(with_record(pool, days, weights, fold), fold.test_start, fold.test_end)
        for pool, fold in zip(pools, all_folds, strict=True)
    ]
    first = len(all_folds) - len(folds)
    return WalkForward(mixed.loc[folds[0].test_start :], models[first:], [base_rates(events) for events in rows[first:]])


def record_folds(folds: Sequence[Fold], outcomes: Outcomes) -> list[Fold]:
    """Quarters before the first of `folds` that could have been forecast."""
    last = folds[0].test_start - pd.Timedelta(days=1)
    before = quarters(outcomes.events.index[0], last) if outcomes.events.index[0] <= last else []
    return [fold for fold in before if has_training_rows(fold, outcomes)]


def with_record(pool: Pool, days: pd.DatetimeIndex, weights: Floats, fold: Fold) -> Pool:
    """A pool with its experts' weights on the days of a fold, and on the last one before."""
    first = max(int(days.searchsorted(fold.test_start)) - 1, 0)
    end = int(days.searchsorted(fold.test_end, side="right"))
    return pool.with_record(days[first:end], weights[first:end]) if end > first else pool


def fitted(model: HorizonModel, X: pd.DataFrame, events: pd.DataFrame, draws: Draws | None = None) -> HorizonModel:
    """The model fitted on rows X (n, p) with outcomes (n, K), and refitted under bootstrap weightings."""
    model.fit(X, events.to_numpy())
    if draws is not None and draws.count and model.has_draws:
        model.fit_draws(X, events.to_numpy(), draws.weights(len(X), [int(days) for days in events.columns]))
    return model


def answers(model: HorizonModel, X: pd.DataFrame, horizons: pd.Index) -> pd.DataFrame:
    """Probabilities (n, K) with their days and horizons."""
    probabilities = model.predict(X) if len(X) else np.empty((0, len(horizons)))
    return pd.DataFrame(probabilities, index=X.index, columns=horizons)
