"""A rotation at once is a walk-forward refitted; chance gives no small p, a signal does."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from small_market import small_market

from core.progress import silent
from evaluation.permutation import circularly_shifted
from evaluation.scores import auc
from models.base import BatchedModel, HorizonModel
from models.catalog import CLAIM, COMPOSITES, MODELS
from models.hazard import Hazard
from models.rules import Climatology
from training.dataset import Dataset, Outcomes
from training.null_results import Walk, null_results
from training.null_tests import (
    NullTask,
    ShiftedRows,
    ShiftedSkill,
    auc_of_shifts,
    claim_null,
    complete_rows,
    fold_mask,
    null_distribution,
    shift_null,
    skill_of_shifts,
    walk_any_shift,
    walk_each_shift,
    walk_shifts,
)
from training.settings import TrainSettings
from training.walk_forward import Fold, forecast, quarters, usable

SETTINGS = TrainSettings(first_test=pd.Timestamp("2021-01-01"))
DATA = small_market(SETTINGS, seed=4, until="2023-12-31")
SPAN = (SETTINGS.first_test, DATA.until)


def inputs_of(data: Dataset) -> pd.DataFrame:
    """What the hazard reads."""
    return data.X[list(COMPOSITES)]


def folds_of(data: Dataset) -> list[Fold]:
    """Quarters that can be forecast."""
    return usable(quarters(SETTINGS.first_test, data.until), data.outcomes)


def null(kind: Callable[..., ShiftedSkill | None], data: Dataset) -> ShiftedSkill:
    """A null of the hazard."""
    found = kind(NullTask(Hazard, inputs_of(data), data.outcomes, folds_of(data), SPAN))
    assert found is not None
    return found


def refitted(X: pd.DataFrame, events: np.ndarray, outcomes: Outcomes, model: Callable[[], HorizonModel]) -> pd.DataFrame:
    """The slow way: a walk-forward of its own on the complete rows."""
    turned = Outcomes(
        events=pd.DataFrame(events, X.index, outcomes.events.columns),
        label_end=outcomes.label_end.loc[X.index],
        known=outcomes.known.loc[X.index],
    )
    return forecast(model, X, turned, folds_of(DATA)).probabilities


QUICK = [name for name in MODELS if isinstance(MODELS[name].make("first_passage", 0.3), BatchedModel)]


@pytest.mark.parametrize("shift", [0, 49, 200])
@pytest.mark.parametrize("name", QUICK)
def test_a_rotation_is_the_walk_forward_refitted(name: str, shift: int) -> None:
    X, outcomes = DATA.X[list(MODELS[name].columns)], DATA.outcomes
    make = partial(MODELS[name].make, "first_passage", 0.3)
    complete = complete_rows(X, outcomes)
    shifts = [0, 49, 120, 200]
    mask = fold_mask(complete, folds_of(DATA), SPAN)
    shifted = ShiftedRows(shifts, complete.inputs, circularly_shifted(complete.events, shifts))
    found = walk_any_shift(make, shifted, mask, complete, None)[""][shifts.index(shift)]
    slow = refitted(X.loc[complete.days], np.roll(complete.events, shift, axis=0), outcomes, make)
    np.testing.assert_allclose(found, slow.loc[complete.days[mask.judged]], rtol=0, atol=tolerance(name))


@pytest.mark.parametrize("name", [name for name in QUICK if "crypto_state" in MODELS[name].columns])
def test_the_claims_null_turns_all_inputs_but_cryptos_own(name: str) -> None:
    columns = list(MODELS[name].columns)
    X, outcomes, shift = DATA.X[columns], DATA.outcomes, 60
    make = partial(MODELS[name].make, "first_passage", 0.3)
    complete = complete_rows(X, outcomes)
    turned = X.loc[complete.days].copy()
    others = [column for column in columns if column in CLAIM]
    turned[others] = np.roll(turned[others].to_numpy(), shift, axis=0)
    slow = refitted(turned, complete.events, outcomes, make)
    mask = fold_mask(complete, folds_of(DATA), SPAN)
    own = ~X.columns.isin(CLAIM)
    inputs = np.where(own, complete.inputs, circularly_shifted(complete.inputs, [0, shift]))
    found = walk_any_shift(make, ShiftedRows([0, shift], inputs, complete.events), mask, complete, None)[""][1]
    np.testing.assert_allclose(found, slow.loc[complete.days[mask.judged]], rtol=0, atol=tolerance(name))


def tolerance(name: str) -> float:
    """How far a refit under a rotation may be from a fit."""
    return 1e-6 if name in ("passage", "pool") else 1e-9


@pytest.mark.parametrize("name", ["passage", "volatility"])
def test_a_model_inside_the_pool_is_the_model_alone(name: str) -> None:
    walk = Walk(DATA, replace(SETTINGS, rotations=20), folds_of(DATA), SPAN)
    inside, alone = null_results(["pool", name], walk, silent)[name], null_results([name], walk, silent)[name]
    assert alone.shift is not None
    assert (inside.claim is None) == (alone.claim is None) == (name == "volatility")
    for ours, theirs in ((inside.shift, alone.shift), (inside.claim, alone.claim)):
        if ours is not None and theirs is not None:
            np.testing.assert_allclose(ours.skill, theirs.skill, rtol=0, atol=1e-5)
            assert [ours.null(ours.skill, k).p for k in range(3)] == [theirs.null(theirs.skill, k).p for k in range(3)]


def test_rotation_by_rotation_is_the_same_as_all_at_once() -> None:
    X = inputs_of(DATA)
    complete = complete_rows(X, DATA.outcomes)
    mask, shifts = fold_mask(complete, folds_of(DATA), SPAN), [0, 60, 130]
    events, kept = circularly_shifted(complete.events, shifts), {}
    at_once = walk_shifts(Hazard(), complete.inputs, events, mask)
    np.testing.assert_allclose(
        walk_each_shift(Hazard, ShiftedRows(shifts, complete.inputs, events), mask, kept), at_once, rtol=0, atol=1e-9
    )
    assert sorted(kept) == shifts


def test_the_statistic_is_skill_against_climatology_refitted() -> None:
    X, outcomes = inputs_of(DATA), DATA.outcomes
    complete = complete_rows(X, outcomes)
    hazard, climate = (refitted(X.loc[complete.days], complete.events, outcomes, partial(kind)) for kind in (Hazard, Climatology))
    events = outcomes.events.loc[hazard.index]
    expected = 1 - ((hazard - events) ** 2).sum() / ((climate - events) ** 2).sum()
    found = null(shift_null, DATA)
    np.testing.assert_allclose(found.skill[0], expected, rtol=0, atol=1e-9)
    assert list(found.auc[0]) == pytest.approx([auc(hazard[days].to_numpy(), events[days].to_numpy()) for days in events])
    assert list(found.brier[0]) == pytest.approx(((hazard - events) ** 2).mean())


def test_outcomes_that_inputs_foretell_are_told_from_chance() -> None:
    data = small_market(SETTINGS, seed=4, until="2023-12-31", signal=1.5)
    shift = null(shift_null, data)
    found = shift.null(shift.skill, 1)
    assert found.p == pytest.approx(1 / (1 + found.shifts))
    assert found.mean < 0.02 < found.observed
    claim = null(claim_null, data)
    assert claim.null(claim.skill, 1).p < 0.05


def test_a_signal_of_cryptos_own_is_none_of_the_claims() -> None:
    data = small_market(SETTINGS, seed=4, until="2023-12-31", signal=1.5)
    mixed = replace(data, X=DATA.X.assign(crypto_state=data.X["crypto_state"]))
    shift, claim = null(shift_null, mixed), null(claim_null, mixed)
    assert shift.null(shift.skill, 1).p < 0.05
    assert claim.null(claim.skill, 1).p > 0.05


def test_a_model_that_reads_only_one_of_the_two_has_no_claim() -> None:
    folds = folds_of(DATA)
    assert claim_null(NullTask(Hazard, inputs_of(DATA)[["crypto_state"]], DATA.outcomes, folds, SPAN)) is None
    assert claim_null(NullTask(Hazard, inputs_of(DATA)[["breadth", "ladder"]], DATA.outcomes, folds, SPAN)) is None


def test_fewer_rotations_are_spread_evenly() -> None:
    complete = complete_rows(inputs_of(DATA), DATA.outcomes)
    every, few = complete.outcome_shifts(), complete.outcome_shifts(39)
    assert len(few) == len(set(few)) == 39
    assert (few[0], few[-1]) == (every[0], every[-1])
    assert set(few) <= set(every)
    assert complete.outcome_shifts(10_000) == every


def test_rotations_keep_away_from_the_row_itself() -> None:
    complete = complete_rows(inputs_of(DATA), DATA.outcomes)
    assert complete.longest_weeks == 13
    assert complete.shifts(13)[0] == 13
    assert complete.shifts(13)[-1] == len(complete.days) - 13
    assert complete.shifts(13 + 36)[0] == 49
    np.testing.assert_array_equal(circularly_shifted(np.arange(5), [2])[0], [3, 4, 0, 1, 2])


def test_too_few_rows_to_rotate_give_none() -> None:
    few = small_market(TrainSettings(start=pd.Timestamp("2022-11-01")), seed=1, until="2023-12-31")
    folds = [Fold(pd.Timestamp("2023-09-01"), pd.Timestamp("2023-12-31"))]
    assert shift_null(NullTask(Hazard, inputs_of(few), few.outcomes, folds, (SETTINGS.first_test, few.until))) is None


def test_what_cannot_be_had_counts_as_good() -> None:
    found = null_distribution(np.array([0.2, 0.1, np.nan, 0.3]), independent=3)
    assert found.p == 3 / 4
    assert found.mean == pytest.approx(0.2)


def test_scores_of_many_are_those_of_one() -> None:
    rng = np.random.default_rng(1)
    forecasts, events = rng.random((3, 50, 2)).round(1), (rng.random((3, 50, 2)) < 0.4).astype(float)
    expected = [[auc(forecasts[s, :, k], events[s, :, k]) for k in range(2)] for s in range(3)]
    np.testing.assert_allclose(auc_of_shifts(forecasts, events), expected)
    np.testing.assert_allclose(skill_of_shifts(forecasts, forecasts, events), 0)
