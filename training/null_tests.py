"""Null distributions of skill: inputs and outcomes are shifted against each other in a circle and the model is refitted each time.

A circular shift keeps the correlation of neighbouring weeks; shuffling and a t-test ignore it. Rules: docs/methods.md.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from core.arrays import Bools, Floats
from evaluation.bootstrap import horizon_weeks
from evaluation.permutation import circularly_shifted
from models.base import BatchedModel, HorizonModel, Refits
from models.catalog import CLAIM
from models.parallel import run_in_parallel
from models.pool import EXPERTS, Pool, earned_weights
from models.rules import Climatology
from training.dataset import Outcomes
from training.walk_forward import LEAST_TRAINING_ROWS, Fold, quarters

Span = tuple[pd.Timestamp, pd.Timestamp]
Make = Callable[[], HorizonModel]
ForecastCache = MutableMapping[int, Floats]
"""Forecasts (m, K) of the judged rows, by shift in weeks."""

LOOKBACK_WEEKS = (
    36  # 252 days, the longest a feature of the index reaches back: after a smaller shift the inputs would contain the outcome
)
LEVELS = (0.05, 0.95)
ALL_DAYS = (pd.Timestamp.min, pd.Timestamp.max)


@dataclass(frozen=True)
class NullDistribution:
    """A statistic on the true dates (`observed`), and its mean and 5 to 95 % range over `shifts` circular shifts.

    `p` = (1 + shifts with at least this value) / (1 + shifts). About `independent` of the shifts are independent of each other.
    """

    observed: float
    p: float
    mean: float
    low: float
    high: float
    shifts: int
    independent: int


@dataclass(frozen=True)
class CompleteRows:
    """Weekly rows with a known outcome at every horizon: days (n,), inputs (n, p), events (n, K) and the day each was known (n,
    K)."""

    days: pd.DatetimeIndex
    inputs: Floats
    events: Floats
    known: NDArray[np.datetime64]
    longest_weeks: int

    def shifts(self, nearest: int, most: int | None = None) -> list[int]:
        """Circular shifts in weeks: at least `nearest`, and so few that the longest outcome doesn't overlap itself at the other
        end.

        With `most`, only that many of them, evenly spread.
        """
        every = range(nearest, len(self.days) - self.longest_weeks + 1)
        if most is None or most >= len(every):
            return list(every)
        return [every[position] for position in np.linspace(0, len(every) - 1, most).round().astype(int)]

    def outcome_shifts(self, most: int | None = None) -> list[int]:
        """Shifts of outcomes after which inputs and outcomes share no price."""
        return self.shifts(self.longest_weeks + LOOKBACK_WEEKS, most)

    def claim_shifts(self, most: int | None = None) -> list[int]:
        """Shifts of the claim's inputs; they don't read the index, so a smaller shift is enough."""
        return self.shifts(self.longest_weeks, most)


@dataclass(frozen=True)
class FoldMask:
    """For each fold of a walk-forward two masks: the cells (n, K) known before it, and the rows (n,) it forecasts.

    `judged` marks the rows (n,) that any fold forecasts. `record` holds the same two masks for the earlier quarters, in which a
    pool learns how good its experts are.
    """

    rows: list[tuple[Bools, Bools]]
    judged: Bools
    record: list[tuple[Bools, Bools]] = field(default_factory=list)


@dataclass(frozen=True)
class NullTask:
    """A walk-forward to repeat after shifts: the model's constructor, inputs X (n, p), outcomes, folds, first and last day judged.

    `climatology` is what `climatology_after_shifts` returns, the same for every model of a walk-forward; None: not computed yet.
    """

    make: Make
    X: pd.DataFrame
    outcomes: Outcomes
    folds: Sequence[Fold]
    span: Span
    climatology: Floats | None = None


@dataclass(frozen=True)
class ShiftedRows:
    """Complete rows after each of S shifts (weeks): inputs (S, n, p) and events (S, n, K); the unshifted one of them lacks the
    S."""

    shifts: Sequence[int]
    inputs: Floats
    events: Floats

    def at(self, position: int) -> tuple[Floats, Floats]:
        """Inputs (n, p) and events (n, K) after one of the shifts."""
        inputs, events = (values if values.ndim == 2 else values[position] for values in (self.inputs, self.events))
        return inputs, events


@dataclass(frozen=True)
class ShiftedSkill:
    """Brier skill, AUC and Brier score (S, K) of a model after every shift; the first shift is 0, the true dates.

    Skill is measured against climatology, or in the claim's null against the same model on crypto's state alone; both are refitted
    after every shift. `experts` holds the same for each expert of a pool.
    """

    shifts: tuple[int, ...]
    skill: Floats
    auc: Floats
    brier: Floats
    independent: int
    experts: "Mapping[str, ShiftedSkill]" = field(default_factory=dict)

    def null(self, statistic: Floats, k: int) -> NullDistribution:
        """Summary of one statistic (S, K) at horizon number `k`."""
        return null_distribution(statistic[:, k], self.independent)

    def table(self, horizons: Sequence[int]) -> pd.DataFrame:
        """One row a shift and horizon: shift, horizon, skill, auc, brier."""
        columns = {"skill": self.skill, "auc": self.auc, "brier": self.brier}
        labels = {
            "shift": np.repeat(self.shifts, len(horizons)),
            "horizon": np.tile([int(days) for days in horizons], len(self.shifts)),
        }
        return pd.DataFrame(labels | {name: values.ravel() for name, values in columns.items()})


def complete_rows(X: pd.DataFrame, outcomes: Outcomes) -> CompleteRows:
    """The rows that can be shifted: those with a known outcome at every horizon."""
    rows = outcomes.events.index[outcomes.events.notna().all(axis=1)]
    inputs, events, known = X.loc[rows].to_numpy(dtype=np.float64), outcomes.events.loc[rows].to_numpy(), outcomes.known.loc[rows]
    return CompleteRows(
        pd.DatetimeIndex(rows), inputs, events, known.to_numpy(), horizon_weeks(max(map(int, outcomes.events.columns)))
    )


def walk_shifts(model: BatchedModel, inputs: Floats, events: Floats, mask: FoldMask) -> Floats:
    """Forecasts (S, m, K) of the judged rows after every shift, all in one batch, from shifted outcomes (S, n, K) or inputs (S, n,
    p)."""
    return forecast_folds(model, model.forecast_each, inputs, events, mask.rows)


def walk_pool_shifts(pool: Pool, inputs: Floats, events: Floats, mask: FoldMask, complete: CompleteRows) -> tuple[Floats, Floats]:
    """Forecasts (S, m, K) of a pool as in `walk_shifts`, and those of its experts (M, S, m, K).

    After each shift the experts get the weights that they earned by the outcomes known so far.
    """
    rows = [*mask.record, *mask.rows]

    def predict_experts(inputs: Floats, refits: Refits) -> Floats:
        return pool.experts_each(inputs, refits.parameters, refits.base_rates)

    experts = forecast_folds(pool, predict_experts, inputs, events, rows)
    tested = np.any([test for _, test in rows], axis=0)
    weights = earned_weights(
        experts, events[..., tested, :], complete.known[tested], complete.days.to_numpy()[tested], pool.horizons
    )
    judged = slice(-int(mask.judged.sum()), None)
    return np.einsum("snm,msnk->snk", weights, experts)[:, judged], experts[:, :, judged]


def forecast_folds(
    model: BatchedModel,
    predict: Callable[[Floats, Refits], Floats],
    inputs: Floats,
    events: Floats,
    rows: Sequence[tuple[Bools, Bools]],
) -> Floats:
    """Forecasts (…, S, m, K) by `predict` of the rows of each fold, from a model fitted once a shift on what was known before
    it."""
    parts, refits = [], None
    for known, test in rows:
        known_rows = known.any(axis=1)
        cells = events.compress(known_rows, axis=-2)
        cells[..., ~known[known_rows]] = np.nan
        refits = model.fit_each(inputs.compress(known_rows, axis=-2), cells, near=refits)
        parts.append(predict(inputs.compress(test, axis=-2), refits))
    return np.concatenate(parts, axis=-2)


def walk_one_shift(make: Make, inputs: Floats, events: Floats, mask: FoldMask) -> Floats:
    """Forecasts (m, K) of the judged rows after one shift, from inputs (n, p) and outcomes (n, K)."""
    parts = []
    for known, test in mask.rows:
        known_rows = known.any(axis=1)
        model = make().fit(inputs[known_rows], np.where(known[known_rows], events[known_rows], np.nan))
        parts.append(model.predict(inputs[test]))
    return np.concatenate(parts)


def walk_each_shift(make: Make, shifted: ShiftedRows, mask: FoldMask, cache: ForecastCache) -> Floats:
    """Forecasts (S, m, K) of a model that can't be refitted in batches: shift by shift, in parallel, except those in the
    `cache`."""
    todo = [(position, shift) for position, shift in enumerate(shifted.shifts) if shift not in cache]
    done = run_in_parallel(walk_one_shift, [(make, *shifted.at(position), mask) for position, _ in todo])
    cache.update(zip((shift for _, shift in todo), done, strict=True))
    return np.stack([cache[shift] for shift in shifted.shifts])


def fold_mask(complete: CompleteRows, folds: Sequence[Fold], span: Span) -> FoldMask:
    """The masks of the folds on the complete rows, for the days of `span`."""
    rows = fold_rows(complete, folds, span)
    judged = np.any([np.zeros(len(complete.days), dtype=bool), *(test for _, test in rows)], axis=0)
    first = folds[0].test_start if folds else span[0]
    before = quarters(complete.days[0], first - pd.Timedelta(days=1)) if len(complete.days) and complete.days[0] < first else []
    record = [
        (known, test) for known, test in fold_rows(complete, before, ALL_DAYS) if (known.sum(axis=0) >= LEAST_TRAINING_ROWS).all()
    ]
    return FoldMask(rows, judged, record)


def fold_rows(complete: CompleteRows, folds: Sequence[Fold], span: Span) -> list[tuple[Bools, Bools]]:
    """For each fold the cells (n, K) known before it and its rows (n,) within `span`; folds without training or test rows are left
    out."""
    rows = []
    for fold in folds:
        known = complete.known < fold.test_start.to_datetime64()
        test = np.asarray((complete.days >= max(fold.test_start, span[0])) & (complete.days <= min(fold.test_end, span[1])))
        if test.any() and known.all(axis=1).any():
            rows.append((known, test))
    return rows


def climatology_after_shifts(task: NullTask, most: int | None) -> Floats:
    """Forecasts (S, m, K) of climatology refitted after each shift of `shift_null`, the unshifted rows first."""
    complete = complete_rows(task.X, task.outcomes)
    mask, shifts = fold_mask(complete, task.folds, task.span), complete.outcome_shifts(most)
    if not shifts or not mask.judged.any():
        return np.empty((0, 0, 0))
    return walk_shifts(Climatology(ordered=False), complete.inputs, circularly_shifted(complete.events, [0, *shifts]), mask)


def shift_null(task: NullTask, *, most: int | None = None, cache: ForecastCache | None = None) -> ShiftedSkill | None:
    """Skill against climatology and AUC after outcomes are shifted against the inputs (n, p), for every admissible shift.

    Dates and purge stay with the rows; model and climatology are refitted on the shifted outcomes. None where no shift is possible.
    A small p says that inputs and outcomes depend on each other; volatility alone can cause that. `most` limits the number of
    shifts; `cache` holds the forecasts, by shift, of a model that can't be refitted in batches.
    """
    complete = complete_rows(task.X, task.outcomes)
    shifts, mask = complete.outcome_shifts(most), fold_mask(complete, task.folds, task.span)
    if not shifts or not mask.judged.any():
        return None
    events = circularly_shifted(complete.events, [0, *shifts])
    forecasts = walk_any_shift(task.make, ShiftedRows([0, *shifts], complete.inputs, events), mask, complete, cache)
    climatology = climatology_after_shifts(task, most) if task.climatology is None else task.climatology
    return shifted_skill([0, *shifts], forecasts, dict.fromkeys(forecasts, climatology), events[:, mask.judged], complete)


def claim_null(task: NullTask, *, most: int | None = None, cache: ForecastCache | None = None) -> ShiftedSkill | None:
    """Skill against the same model on crypto's state alone, after the claim's inputs are shifted together, for every shift.

    It tests what small caps, volume and liquidity add to crypto's own state. None for a model that reads only one of the two.
    """
    complete, own = complete_rows(task.X, task.outcomes), ~task.X.columns.isin(CLAIM)
    shifts, mask = complete.claim_shifts(most), fold_mask(complete, task.folds, task.span)
    if not shifts or not mask.judged.any() or own.all() or not own.any():
        return None
    inputs = np.where(own, complete.inputs, circularly_shifted(complete.inputs, [0, *shifts]))
    forecasts = walk_any_shift(task.make, ShiftedRows([0, *shifts], inputs, complete.events), mask, complete, cache)
    own_rows = ShiftedRows([0], complete.inputs[None][..., own], complete.events)
    alone = walk_any_shift(task.make, own_rows, mask, complete, None)
    return shifted_skill([0, *shifts], forecasts, alone, complete.events[mask.judged][None], complete)


def walk_any_shift(
    make: Make, shifted: ShiftedRows, mask: FoldMask, complete: CompleteRows, cache: ForecastCache | None
) -> dict[str, Floats]:
    """Forecasts (S, m, K) after every shift, in batches where the model allows it: the model's under "", a pool's experts' by
    name."""
    model = make()
    if isinstance(model, Pool):
        mixed, experts = walk_pool_shifts(model, shifted.inputs, shifted.events, mask, complete)
        return {"": mixed, **dict(zip(EXPERTS, experts, strict=True))}
    if isinstance(model, BatchedModel):
        return {"": walk_shifts(model, shifted.inputs, shifted.events, mask)}
    return {"": walk_each_shift(make, shifted, mask, {} if cache is None else cache)}


def shifted_skill(
    shifts: Sequence[int], forecasts: Mapping[str, Floats], reference: Mapping[str, Floats], events: Floats, complete: CompleteRows
) -> ShiftedSkill:
    """Skill, AUC and Brier score of the forecasts from `walk_any_shift`, each against its reference, on events (S, m, K)."""
    each = {
        name: ShiftedSkill(
            shifts=tuple(shifts),
            skill=skill_of_shifts(values, reference[name], events),
            auc=auc_of_shifts(values, np.broadcast_to(events, values.shape)),
            brier=np.asarray(((values - events) ** 2).mean(axis=1)),
            independent=len(complete.days) // complete.longest_weeks,
        )
        for name, values in forecasts.items()
    }
    return replace(each.pop(""), experts=each)


def skill_of_shifts(forecasts: Floats, reference: Floats, events: Floats) -> Floats:
    """Brier skill (S, K) of forecasts (S, m, K) against a reference."""
    return np.asarray(1 - ((forecasts - events) ** 2).sum(axis=1) / ((reference - events) ** 2).sum(axis=1))


def auc_of_shifts(forecasts: Floats, events: Floats) -> Floats:
    """Area under the ROC curve (S, K); NaN where all events are equal."""
    positive = events.sum(axis=1)
    ranks = (rankdata(forecasts, axis=1) * events).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((ranks - positive * (positive + 1) / 2) / (positive * (events.shape[1] - positive)))


def null_distribution(statistic: Floats, independent: int) -> NullDistribution:
    """Summary of a statistic (S,) whose first value is that of the true dates; a missing value counts as at least as good."""
    observed, null = float(statistic[0]), statistic[1:]
    finite = null[~np.isnan(null)]
    low, high = np.quantile(finite, LEVELS) if len(finite) else (np.nan, np.nan)
    return NullDistribution(
        observed=observed,
        p=float((1 + (~(null < observed)).sum()) / len(statistic)),
        mean=float(finite.mean()) if len(finite) else float("nan"),
        low=float(low),
        high=float(high),
        shifts=len(null),
        independent=independent,
    )
