"""Walk-forward: nothing a model learns from was known only after its test began."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_market import small_market

from core.errors import LeakFound, MissingData
from models.catalog import COMPOSITES
from models.hazard import Hazard
from models.rules import Climatology
from training.dataset import Outcomes
from training.settings import TrainSettings
from training.verify import skill
from training.walk_forward import (
    Draws,
    Fold,
    base_rates,
    describe,
    forecast,
    purged,
    quarters,
    require_purged,
    training_rows,
    usable,
)

SETTINGS = TrainSettings()
DATA = small_market(SETTINGS)
FOLDS = usable(quarters(SETTINGS.first_test, DATA.until), DATA.outcomes)
X = DATA.X[list(COMPOSITES)]


def day(text: str) -> pd.Timestamp:
    return pd.Timestamp(text)


def test_folds_are_quarters_that_cover_every_day_once() -> None:
    folds = quarters(day("2018-01-01"), day("2018-08-15"))
    assert folds == [
        Fold(day("2018-01-01"), day("2018-03-31")),
        Fold(day("2018-04-01"), day("2018-06-30")),
        Fold(day("2018-07-01"), day("2018-08-15")),
    ]
    assert quarters(day("2018-02-11"), day("2018-03-01")) == [Fold(day("2018-01-01"), day("2018-03-01"))]


def test_training_labels_end_before_test_begins() -> None:
    for fold in FOLDS:
        events = training_rows(DATA.outcomes, fold.test_start)
        used = DATA.outcomes.label_end.loc[events.index].where(events.notna())
        assert used.max().max() + pd.Timedelta(days=1) < fold.test_start
    table = describe(FOLDS, DATA.outcomes)
    assert (table["last_label_end"] < table["test_start"]).all()
    assert table["n_train"].is_monotonic_increasing


def test_the_purge_is_by_the_day_it_was_known_and_per_horizon() -> None:
    kept = purged(DATA.outcomes, day("2018-01-01")).notna()
    last = {days: kept.index[kept[days]].max() for days in (30, 60, 90)}
    assert last == {30: day("2017-11-26"), 60: day("2017-10-29"), 90: day("2017-10-01")}  # day + horizon + 1 < 2018-01-01


@pytest.mark.parametrize("gap", [0, 28, 59])
def test_a_gap_shorter_than_the_horizon_is_caught(gap: int) -> None:
    start = day("2020-01-01")
    leaky = DATA.outcomes.events.loc[: start - pd.Timedelta(days=gap)]
    with pytest.raises(LeakFound, match="known on 20"):
        require_purged(leaky, DATA.outcomes.known, start)


def test_a_gap_of_all_horizons_and_the_release_lag_passes() -> None:
    start = day("2020-01-01")
    require_purged(DATA.outcomes.events.loc[: start - pd.Timedelta(days=92)], DATA.outcomes.known, start)


def test_what_was_known_later_does_not_change_a_forecast() -> None:
    fold = FOLDS[4]
    events = DATA.outcomes.events
    turned = events.mask(DATA.outcomes.known >= fold.test_start, 1 - events).cummax(axis=1).where(events.notna())
    changed = replace(DATA.outcomes, events=turned)
    assert not changed.events.equals(events)
    X_later = X.mask(pd.Series(X.index > fold.test_end, X.index), 1e6)
    before = forecast(Hazard, X, DATA.outcomes, [fold])
    after = forecast(Hazard, X_later, changed, [fold])
    pd.testing.assert_frame_equal(before.probabilities, after.probabilities, check_exact=True)


def test_censored_rows_are_missing_not_quiet() -> None:
    last = DATA.outcomes.events.iloc[-1]
    assert last.isna().all()
    known = DATA.outcomes.events[90].dropna()
    assert base_rates(DATA.outcomes.events)[2] == pytest.approx(known.mean())


def test_climatology_knows_what_the_models_know() -> None:
    walk = forecast(Climatology, X, DATA.outcomes, FOLDS[:3])
    for fold, rates in zip(FOLDS[:3], walk.base_rates, strict=True):
        expected = purged(DATA.outcomes, fold.test_start).mean().to_numpy()
        np.testing.assert_allclose(rates, expected)
        here = walk.probabilities.loc[fold.test_start : fold.test_end].to_numpy()
        np.testing.assert_allclose(here, np.broadcast_to(expected, here.shape))


def test_every_test_row_is_forecast_once_also_those_not_over_yet() -> None:
    walk = forecast(Climatology, X, DATA.outcomes, FOLDS)
    pd.testing.assert_index_equal(walk.probabilities.index, X.loc[FOLDS[0].test_start :].index)


def test_fold_models_answer_as_they_did_in_the_walk() -> None:
    walk = forecast(Hazard, X, DATA.outcomes, FOLDS[:2], draws=Draws(5, 1))
    for kept in walk.models:
        test = X.loc[kept.start : kept.end]
        np.testing.assert_array_equal(kept.model.predict(test), walk.probabilities.loc[kept.start : kept.end])
        assert kept.model.predict_draws(test).shape == (5, len(test), 3)


def test_quarters_without_a_year_of_outcomes_are_left_out_and_none_left_is_an_error() -> None:
    early = usable(quarters(day("2015-07-01"), day("2018-12-31")), DATA.outcomes)
    assert early[0].test_start == day("2016-04-01")  # 52 weeks of 90-day outcomes were known by then
    with pytest.raises(MissingData, match="52 weeks"):
        usable(quarters(day("2015-01-01"), day("2015-12-31")), DATA.outcomes)


def rotated(made: Outcomes, shift: int) -> Outcomes:
    """Outcomes moved along the complete rows in a circle; days and what was known when stay."""
    complete = made.events.notna().all(axis=1).to_numpy()
    events = made.events[complete]
    moved = pd.DataFrame(np.roll(events.to_numpy(), shift, axis=0), events.index, events.columns)
    return Outcomes(moved, made.label_end[complete], made.known[complete])


def mean_rotated_skill(known: pd.DataFrame, shifts: list[int]) -> tuple[float, float]:
    """Mean 60-day skill of the hazard over rotations, and its standard error with one independent shift in 13 weeks."""
    years = [Fold(day(f"{year}-01-01"), day(f"{year}-12-31")) for year in range(2018, 2025)]
    skills = []
    for shift in shifts:
        made = rotated(replace(DATA.outcomes, known=known), shift)
        outcome = made.events[60].loc["2018":]
        loss, climate = (
            (forecast(make, X.loc[made.events.index], made, years).probabilities[60] - outcome) ** 2
            for make in (Hazard, Climatology)
        )
        skills.append(skill(loss.to_numpy(), climate.to_numpy()))
    return float(np.mean(skills)), float(np.std(skills) / np.sqrt(len(DATA.X) / 13))


SHIFTS = [int(shift) for shift in np.linspace(49, len(DATA.X) - 13 - 13, 99)]


def test_rotated_outcomes_show_no_skill() -> None:
    mean, error = mean_rotated_skill(DATA.outcomes.known, SHIFTS)
    assert mean <= 2 * error
    assert mean > -0.15


def test_rotated_outcomes_would_show_skill_if_the_purge_were_gone() -> None:
    seen_at_once = DATA.outcomes.known.map(lambda _: day("2017-01-01"))
    mean, error = mean_rotated_skill(seen_at_once, SHIFTS[::10])
    assert mean > 2 * error
