"""Walk-forward with an expanding window, refitted each quarter; training outcomes were known before the test began."""

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
    """Number of block-bootstrap refits for an interval (0: none) and the seed of their weights."""

    count: int = 0
    seed: int = 7

    def weights(self, rows: int, horizons: Sequence[int]) -> Floats:
        """Bootstrap weights (count, rows), in blocks as long as the longest horizon (days)."""
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
    enough = [fold for fold in folds if has_training_rows(fold, outcomes)]
    if not enough:
        span = f"{folds[0].test_start:%Y-%m-%d} to {folds[-1].test_end:%Y-%m-%d}" if folds else "the days asked for"
        raise MissingData(
            f"Nothing can be forecast in {span}: no quarter of it has {LEAST_TRAINING_ROWS} weeks of known outcomes before it."
        )
    return enough


def has_training_rows(fold: Fold, outcomes: Outcomes) -> bool:
    """Whether a year of training outcomes was known before a fold, at every horizon."""
    return bool((purged(outcomes, fold.test_start).notna().sum() >= LEAST_TRAINING_ROWS).all())


def purged(outcomes: Outcomes, test_start: pd.Timestamp) -> pd.DataFrame:
    """Outcomes (n, K) known before the test began; all others are NaN."""
    return outcomes.events.where(outcomes.known < test_start)


def require_purged(events: pd.DataFrame, known: pd.DataFrame, test_start: pd.Timestamp) -> None:
    """Raise LeakFound if a training outcome (n, K) was known only when the test had begun."""
    late = events.notna() & (known.loc[events.index] >= test_start)
    if late.to_numpy().any():
        position, column = np.argwhere(late.to_numpy())[0]
        row, horizon = late.index[position], late.columns[column]
        raise LeakFound(
            f"The outcome of {row:%Y-%m-%d} within {horizon} days was known on {known.loc[row, horizon]:%Y-%m-%d}, "
            f"but is used to forecast from {test_start:%Y-%m-%d}."
        )


def training_rows(outcomes: Outcomes, test_start: pd.Timestamp) -> pd.DataFrame:
    """Training outcomes (n, K) of the rows with at least one known outcome. Raises LeakFound if one is from the future."""
    events = purged(outcomes, test_start).dropna(how="all")
    require_purged(events, outcomes.known, test_start)
    return events


def describe(folds: Sequence[Fold], outcomes: Outcomes) -> pd.DataFrame:
    """Table with a row per fold: the days it tests, number of training rows and of known outcomes, the last label_end of those."""
    rows = []
    for fold in folds:
        events = training_rows(outcomes, fold.test_start)
        ends = outcomes.label_end.loc[events.index].where(events.notna())
        rows.append(
            {
                "test_start": fold.test_start,
                "test_end": fold.test_end,
                "n_train": len(events),
                "known_outcomes": int(events.notna().to_numpy().sum()),
                "last_label_end": ends.max().max(),
            }
        )
    return pd.DataFrame(rows)


def base_rates(events: pd.DataFrame) -> list[float]:
    """Share of events among the known outcomes, by horizon (K)."""
    return [float(rate) for rate in events.mean()]


def forecast(
    make: Callable[[], HorizonModel], X: pd.DataFrame, outcomes: Outcomes, folds: Sequence[Fold], *, draws: Draws | None = None
) -> WalkForward:
    """Fit a new model for each fold and forecast the rows of X (n, p) within the fold.

    With `draws` each model is also refitted with bootstrap weights. A pool weights its experts by their past forecasts.
    """
    if isinstance(make(), Pool):
        return forecast_pool(cast(Callable[[], Pool], make), X, outcomes, folds)
    training_events = [training_rows(outcomes, fold.test_start) for fold in folds]
    jobs = [(make(), X.loc[events.index], events, draws) for events in training_events]
    fits = list(run_in_parallel(fitted, jobs) if jobs[0][0].slow else starmap(fitted, jobs))
    parts = [
        answers(model, X.loc[fold.test_start : fold.test_end], outcomes.events.columns)
        for model, fold in zip(fits, folds, strict=True)
    ]
    models = [FoldModel(model, fold.test_start, fold.test_end) for model, fold in zip(fits, folds, strict=True)]
    return WalkForward(pd.concat(parts), models, [base_rates(events) for events in training_events])


def forecast_pool(make: Callable[[], Pool], X: pd.DataFrame, outcomes: Outcomes, folds: Sequence[Fold]) -> WalkForward:
    """Walk-forward of a pool: fitted at each fold; the experts' weights change each week as outcomes become known.

    The experts' record begins with the first quarter that has enough training rows, which may be years before `folds`.
    """
    start, last = outcomes.events.index[0], folds[0].test_start - pd.Timedelta(days=1)
    earlier = quarters(start, last) if start <= last else []
    all_folds = [*(fold for fold in earlier if has_training_rows(fold, outcomes)), *folds]
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


def with_record(pool: Pool, days: pd.DatetimeIndex, weights: Floats, fold: Fold) -> Pool:
    """The pool with the experts' weights on the days of the fold and on the last day before it."""
    first = max(int(days.searchsorted(fold.test_start)) - 1, 0)
    end = int(days.searchsorted(fold.test_end, side="right"))
    return pool.with_record(days[first:end], weights[first:end]) if end > first else pool


def fitted(model: HorizonModel, X: pd.DataFrame, events: pd.DataFrame, draws: Draws | None = None) -> HorizonModel:
    """The model fitted on inputs X (n, p) and outcomes (n, K), and refitted with bootstrap weights if `draws` are given."""
    model.fit(X, events.to_numpy())
    if draws is not None and draws.count and model.has_draws:
        model.fit_draws(X, events.to_numpy(), draws.weights(len(X), [int(days) for days in events.columns]))
    return model


def answers(model: HorizonModel, X: pd.DataFrame, horizons: pd.Index) -> pd.DataFrame:
    """Probabilities (n, K) with their days and horizons."""
    probabilities = model.predict(X) if len(X) else np.empty((0, len(horizons)))
    return pd.DataFrame(probabilities, index=X.index, columns=horizons)
