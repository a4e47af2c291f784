"""A rotation at once is a walk-forward refitted; chance gives no small p, a signal does."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from small_market import small_market

from models.catalog import COMPOSITES
from models.climatology import Climatology
from models.hazard import Hazard
from training.dataset import Dataset
from training.nulls import aucs, claim_null, fixed_outcomes, null_of, ring_of, rotated, shift_null, skills, walk
from training.outcome import Outcomes
from training.scores import auc
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


def refitted(X: pd.DataFrame, events: np.ndarray, outcomes: Outcomes, model: partial) -> pd.DataFrame:
    """The slow way: a walk-forward of its own on the rows of the ring."""
    turned = Outcomes(
        events=pd.DataFrame(events, X.index, outcomes.events.columns),
        label_end=outcomes.label_end.loc[X.index],
        known=outcomes.known.loc[X.index],
    )
    return forecast(model, X, turned, folds_of(DATA)).probabilities


@pytest.mark.parametrize("shift", [0, 49, 200])
def test_a_rotation_is_the_walk_forward_refitted(shift: int) -> None:
    X, outcomes = inputs_of(DATA), DATA.outcomes
    ring = ring_of(X, outcomes)
    shifts = [0, *ring.shifts(49)]
    events = rotated(ring.events, shifts)
    place = shifts.index(shift)
    model = Hazard()

    def fit(taught: np.ndarray, start: np.ndarray | None) -> np.ndarray:
        rows = taught.any(axis=1)
        return model.solve_each(ring.inputs[rows], np.where(taught[rows], events[:, rows], np.nan), start=start)

    found, judged = walk(ring, folds_of(DATA), SPAN, fit, lambda test, parameters: model.answer_each(ring.inputs[test], parameters))
    slow = refitted(X.loc[ring.days], np.roll(ring.events, shift, axis=0), outcomes, partial(Hazard))
    np.testing.assert_allclose(found[place], slow.loc[ring.days[judged]], rtol=0, atol=1e-9)


def test_the_statistic_is_skill_against_climatology_refitted() -> None:
    X, outcomes = inputs_of(DATA), DATA.outcomes
    ring = ring_of(X, outcomes)
    hazard, climate = (refitted(X.loc[ring.days], ring.events, outcomes, partial(kind)) for kind in (Hazard, Climatology))
    events = outcomes.events.loc[hazard.index]
    expected = 1 - ((hazard - events) ** 2).sum() / ((climate - events) ** 2).sum()
    found = shift_null(Hazard(), X, outcomes, folds_of(DATA), SPAN)
    np.testing.assert_allclose([skill.observed for skill, _ in found], expected, rtol=0, atol=1e-9)
    assert [ranks.observed for _, ranks in found] == pytest.approx(
        [auc(hazard[days].to_numpy(), events[days].to_numpy()) for days in events]
    )


def test_the_claims_null_turns_all_inputs_but_cryptos_own() -> None:
    X, outcomes = inputs_of(DATA), DATA.outcomes
    ring, shift = ring_of(X, outcomes), 60
    turned = X.loc[ring.days].copy()
    others = [name for name in turned if name != "crypto_state"]
    turned[others] = np.roll(turned[others].to_numpy(), shift, axis=0)
    slow = refitted(turned, ring.events, outcomes, partial(Hazard))
    model = Hazard()
    found, judged = walk(ring, folds_of(DATA), SPAN, *fixed_outcomes(model, ring, turned.to_numpy()[None]))
    np.testing.assert_allclose(found[0], slow.loc[ring.days[judged]], rtol=0, atol=1e-9)


def test_outcomes_that_inputs_foretell_are_told_from_chance() -> None:
    data = small_market(SETTINGS, seed=4, until="2023-12-31", signal=1.5)
    found = shift_null(Hazard(), inputs_of(data), data.outcomes, folds_of(data), SPAN)
    assert all(skill.p == pytest.approx(1 / (1 + skill.shifts)) for skill, _ in found[1:2])
    assert found[1][0].mean < 0.02 < found[1][0].observed
    assert claim_null(Hazard(), inputs_of(data), data.outcomes, folds_of(data), SPAN)[1].p < 0.05


def test_a_signal_of_cryptos_own_is_none_of_the_claims() -> None:
    data = small_market(SETTINGS, seed=4, until="2023-12-31", signal=1.5)
    X = DATA.X.assign(crypto_state=data.X["crypto_state"])
    mixed = replace(data, X=X)
    assert shift_null(Hazard(), inputs_of(mixed), mixed.outcomes, folds_of(mixed), SPAN)[1][0].p < 0.05
    assert claim_null(Hazard(), inputs_of(mixed), mixed.outcomes, folds_of(mixed), SPAN)[1].p > 0.05


def test_rotations_keep_away_from_the_row_itself() -> None:
    ring = ring_of(inputs_of(DATA), DATA.outcomes)
    assert ring.longest_weeks == 13
    assert ring.shifts(13)[0] == 13
    assert ring.shifts(13)[-1] == len(ring.days) - 13
    assert ring.shifts(13 + 36)[0] == 49
    np.testing.assert_array_equal(rotated(np.arange(5), [2])[0], [3, 4, 0, 1, 2])


def test_too_few_rows_to_rotate_give_none() -> None:
    few = small_market(TrainSettings(start=pd.Timestamp("2022-11-01")), seed=1, until="2023-12-31")
    folds = [Fold(pd.Timestamp("2023-09-01"), pd.Timestamp("2023-12-31"))]
    assert shift_null(Hazard(), inputs_of(few), few.outcomes, folds, (SETTINGS.first_test, few.until)) == []


def test_what_cannot_be_had_counts_as_good() -> None:
    ring = ring_of(inputs_of(DATA), DATA.outcomes)
    null = null_of(np.array([0.2, 0.1, np.nan, 0.3]), ring)
    assert null.p == 3 / 4
    assert null.mean == pytest.approx(0.2)


def test_scores_of_many_are_those_of_one() -> None:
    rng = np.random.default_rng(1)
    forecasts, events = rng.random((3, 50, 2)).round(1), (rng.random((3, 50, 2)) < 0.4).astype(float)
    expected = [[auc(forecasts[s, :, k], events[s, :, k]) for k in range(2)] for s in range(3)]
    np.testing.assert_allclose(aucs(forecasts, events), expected)
    np.testing.assert_allclose(skills(forecasts, forecasts, events), 0)
