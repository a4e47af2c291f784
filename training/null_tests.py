"""What would this skill be by chance? Rows are rotated against each other and the model refitted through the whole walk-forward.

Rotating keeps what neighbouring weeks share, which shuffling or a t-test would not. Rules: docs/methods.md.
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
Kept = MutableMapping[int, Floats]

LOOKBACK_WEEKS = 36  # 252 days, the longest a feature of the index reaches back: a closer rotation would hold the outcome itself
LEVELS = (0.05, 0.95)
ALL_DAYS = (pd.Timestamp.min, pd.Timestamp.max)


@dataclass(frozen=True)
class NullDistribution:
    """A statistic on the true dates (`observed`) and over `shifts` rotations: their mean and 5 to 95 % range.

    `p` = (1 + rotations at least as good) / (1 + rotations), of which about `independent` are.
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
    """Rows whose every horizon is over, in weekly order: days (n,), inputs (n, p), events and the day each was known (n, K)."""

    days: pd.DatetimeIndex
    inputs: Floats
    events: Floats
    known: NDArray[np.datetime64]
    longest_weeks: int

    def shifts(self, nearest: int, most: int | None = None) -> list[int]:
        """Rotations by `nearest` weeks or more, up to where the longest outcome would meet itself from behind.

        `most` keeps that many of them, evenly spread.
        """
        every = range(nearest, len(self.days) - self.longest_weeks + 1)
        if most is None or most >= len(every):
            return list(every)
        return [every[place] for place in np.linspace(0, len(every) - 1, most).round().astype(int)]

    def outcome_shifts(self, most: int | None = None) -> list[int]:
        """Rotations of outcomes against inputs that share no price with them."""
        return self.shifts(self.longest_weeks + LOOKBACK_WEEKS, most)

    def claim_shifts(self, most: int | None = None) -> list[int]:
        """Rotations of the claim's inputs, which read nothing of the index."""
        return self.shifts(self.longest_weeks, most)


@dataclass(frozen=True)
class FoldMask:
    """Where a walk-forward falls on a ring: of each fold the cells (n, K) known before it and the rows (n,) it forecasts.

    `judged` are the rows (n,) that some fold forecasts; `record` are the quarters before, from which a pool knows its experts.
    """

    rows: list[tuple[Bools, Bools]]
    judged: Bools
    record: list[tuple[Bools, Bools]] = field(default_factory=list)


@dataclass(frozen=True)
class ShiftedSkill:
    """Statistics (S, K) on every rotation, the true dates (a shift of 0) first: Brier skill, AUC and Brier score.

    Skill is against the reference that was refitted too: climatology, or for the claim's null the model on crypto's state alone.
    `experts`: the same of each expert of a pool.
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
        places = {
            "shift": np.repeat(self.shifts, len(horizons)),
            "horizon": np.tile([int(days) for days in horizons], len(self.shifts)),
        }
        return pd.DataFrame(places | {name: values.ravel() for name, values in columns.items()})


def complete_rows(X: pd.DataFrame, outcomes: Outcomes) -> CompleteRows:
    """The rows that can be rotated."""
    rows = outcomes.events.index[outcomes.events.notna().all(axis=1)]
    inputs, events, known = X.loc[rows].to_numpy(dtype=np.float64), outcomes.events.loc[rows].to_numpy(), outcomes.known.loc[rows]
    return CompleteRows(
        pd.DatetimeIndex(rows), inputs, events, known.to_numpy(), horizon_weeks(max(map(int, outcomes.events.columns)))
    )


def walk_shifts(model: BatchedModel, inputs: Floats, events: Floats, place: FoldMask) -> Floats:
    """Forecasts (S, m, K) of all rotations at once on the judged rows: of outcomes (S, n, K), or of inputs (S, n, p)."""
    return forecast_folds(model, model.forecast_each, inputs, events, place.rows)


def walk_pool_shifts(pool: Pool, inputs: Floats, events: Floats, place: FoldMask, ring: CompleteRows) -> tuple[Floats, Floats]:
    """As `walk_shifts`, and the experts' forecasts (M, S, m, K): they have weights that in each rotation known outcomes earn."""
    rows = [*place.record, *place.rows]

    def answer(asked: Floats, refits: Refits) -> Floats:
        return pool.experts_each(asked, refits.parameters, refits.base_rates)

    experts = forecast_folds(pool, answer, inputs, events, rows)
    tested = np.any([test for _, test in rows], axis=0)
    weights = earned_weights(experts, events[..., tested, :], ring.known[tested], ring.days.to_numpy()[tested], pool.horizons)
    judged = slice(-int(place.judged.sum()), None)
    return np.einsum("snm,msnk->snk", weights, experts)[:, judged], experts[:, :, judged]


def forecast_folds(
    model: BatchedModel,
    answer: Callable[[Floats, Refits], Floats],
    inputs: Floats,
    events: Floats,
    rows: Sequence[tuple[Bools, Bools]],
) -> Floats:
    """What `answer` makes (…, S, m, K) of the rows that each fold forecasts and of the fold's fits, one fit a rotation."""
    parts, near = [], None
    for taught, test in rows:
        learning = taught.any(axis=1)
        cells = events.compress(learning, axis=-2)
        cells[..., ~taught[learning]] = np.nan
        near = model.fit_each(inputs.compress(learning, axis=-2), cells, near=near)
        parts.append(answer(inputs.compress(test, axis=-2), near))
    return np.concatenate(parts, axis=-2)


def walk_one_shift(make: Make, inputs: Floats, events: Floats, place: FoldMask) -> Floats:
    """Forecasts (m, K) of one rotation: inputs (n, p), outcomes (n, K)."""
    parts = []
    for taught, test in place.rows:
        learning = taught.any(axis=1)
        model = make().fit(inputs[learning], np.where(taught[learning], events[learning], np.nan))
        parts.append(model.predict(inputs[test]))
    return np.concatenate(parts)


def walk_each_shift(make: Make, inputs: Floats, events: Floats, place: FoldMask, shifts: Sequence[int], kept: Kept) -> Floats:
    """As `walk` for a model that can't be refitted in batches: rotation by rotation, spread, but for those `kept`."""
    todo = [(s, shift) for s, shift in enumerate(shifts) if shift not in kept]
    done = run_in_parallel(walk_one_shift, [(make, shift_at(inputs, s), shift_at(events, s), place) for s, _ in todo])
    for (_, shift), forecasts in zip(todo, done, strict=True):
        kept[shift] = forecasts
    return np.stack([kept[shift] for shift in shifts])


def shift_at(values: Floats, position: int) -> Floats:
    """One set of (S, n, …); what all sets share (n, …) as it is."""
    return values if values.ndim == 2 else values[position]


def fold_mask(ring: CompleteRows, folds: Sequence[Fold], span: Span) -> FoldMask:
    """Where the folds fall on the ring."""
    rows = fold_rows(ring, folds, span)
    judged = np.any([np.zeros(len(ring.days), dtype=bool), *(test for _, test in rows)], axis=0)
    first = folds[0].test_start if folds else span[0]
    before = quarters(ring.days[0], first - pd.Timedelta(days=1)) if len(ring.days) and ring.days[0] < first else []
    record = [
        (taught, test) for taught, test in fold_rows(ring, before, ALL_DAYS) if (taught.sum(axis=0) >= LEAST_TRAINING_ROWS).all()
    ]
    return FoldMask(rows, judged, record)


def fold_rows(ring: CompleteRows, folds: Sequence[Fold], span: Span) -> list[tuple[Bools, Bools]]:
    """Cells (n, K) known before each fold and rows (n,) of `span` in it, where there is something to learn and to forecast."""
    both = []
    for fold in folds:
        taught = ring.known < fold.test_start.to_datetime64()
        test = np.asarray((ring.days >= max(fold.test_start, span[0])) & (ring.days <= min(fold.test_end, span[1])))
        if test.any() and taught.all(axis=1).any():
            both.append((taught, test))
    return both


def shift_null(
    make: Make,
    X: pd.DataFrame,
    outcomes: Outcomes,
    folds: Sequence[Fold],
    span: Span,
    *,
    most: int | None = None,
    kept: Kept | None = None,
) -> ShiftedSkill | None:
    """Skill against climatology and AUC when outcomes are rotated against the inputs X (n, p), by every admissible shift.

    Dates and purge stay with the rows; model and climatology learn the rotated outcomes. None where the rows allow no rotation.
    Small p says that inputs and outcomes depend on each other, which volatility alone can bring about. `most` thins the shifts
    evenly; `kept` holds forecasts by shift of a model that can't be refitted in batches.
    """
    ring = complete_rows(X, outcomes)
    shifts, place = ring.outcome_shifts(most), fold_mask(ring, folds, span)
    if not shifts or not place.judged.any():
        return None
    events = circularly_shifted(ring.events, [0, *shifts])
    forecasts = walk_any_shift(make, ring.inputs, events, place, ring, [0, *shifts], kept)
    climate = walk_shifts(Climatology(ordered=False), ring.inputs, events, place)
    return shifted_skill([0, *shifts], forecasts, dict.fromkeys(forecasts, climate), events[:, place.judged], ring)


def claim_null(
    make: Make,
    X: pd.DataFrame,
    outcomes: Outcomes,
    folds: Sequence[Fold],
    span: Span,
    *,
    most: int | None = None,
    kept: Kept | None = None,
) -> ShiftedSkill | None:
    """Skill against the same model on crypto's state alone, when the claim's inputs are rotated together by every shift.

    It asks what small caps, volume and liquidity add to what crypto already shows. None where a model reads only one of the two.
    """
    ring, own = complete_rows(X, outcomes), ~X.columns.isin(CLAIM)
    shifts, place = ring.claim_shifts(most), fold_mask(ring, folds, span)
    if not shifts or not place.judged.any() or own.all() or not own.any():
        return None
    inputs = np.where(own, ring.inputs, circularly_shifted(ring.inputs, [0, *shifts]))
    forecasts = walk_any_shift(make, inputs, ring.events, place, ring, [0, *shifts], kept)
    alone = walk_any_shift(make, ring.inputs[None][..., own], ring.events, place, ring, [0], None)
    return shifted_skill([0, *shifts], forecasts, alone, ring.events[place.judged][None], ring)


def walk_any_shift(
    make: Make, inputs: Floats, events: Floats, place: FoldMask, ring: CompleteRows, shifts: Sequence[int], kept: Kept | None
) -> dict[str, Floats]:
    """Forecasts (S, m, K) of every rotation, by whichever way the model allows: under "", and of a pool's experts by name."""
    model = make()
    if isinstance(model, Pool):
        mixed, experts = walk_pool_shifts(model, inputs, events, place, ring)
        return {"": mixed, **dict(zip(EXPERTS, experts, strict=True))}
    if isinstance(model, BatchedModel):
        return {"": walk_shifts(model, inputs, events, place)}
    return {"": walk_each_shift(make, inputs, events, place, shifts, {} if kept is None else kept)}


def shifted_skill(
    shifts: Sequence[int], forecasts: Mapping[str, Floats], reference: Mapping[str, Floats], events: Floats, ring: CompleteRows
) -> ShiftedSkill:
    """Statistics of what `walk_any_shift` returns against a reference for each, on events (S, m, K)."""
    each = {
        name: ShiftedSkill(
            shifts=tuple(shifts),
            skill=skill_of_shifts(values, reference[name], events),
            auc=auc_of_shifts(values, np.broadcast_to(events, values.shape)),
            brier=np.asarray(((values - events) ** 2).mean(axis=1)),
            independent=len(ring.days) // ring.longest_weeks,
        )
        for name, values in forecasts.items()
    }
    return replace(each.pop(""), experts=each)


def skill_of_shifts(forecasts: Floats, reference: Floats, events: Floats) -> Floats:
    """Brier skill (S, K) of forecasts (S, m, K) against a reference."""
    return np.asarray(1 - ((forecasts - events) ** 2).sum(axis=1) / ((reference - events) ** 2).sum(axis=1))


def auc_of_shifts(forecasts: Floats, events: Floats) -> Floats:
    """Area under the ROC curve (S, K), NaN where all events are alike."""
    positive = events.sum(axis=1)
    ranks = (rankdata(forecasts, axis=1) * events).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((ranks - positive * (positive + 1) / 2) / (positive * (events.shape[1] - positive)))


def null_distribution(statistic: Floats, independent: int) -> NullDistribution:
    """Summary of a statistic (S,) whose first value is the true one; what can't be had counts as good."""
    true, by_chance = float(statistic[0]), statistic[1:]
    known = by_chance[~np.isnan(by_chance)]
    low, high = np.quantile(known, LEVELS) if len(known) else (np.nan, np.nan)
    return NullDistribution(
        observed=true,
        p=float((1 + (~(by_chance < true)).sum()) / len(statistic)),
        mean=float(known.mean()) if len(known) else float("nan"),
        low=float(low),
        high=float(high),
        shifts=len(by_chance),
        independent=independent,
    )
