"""Year by year, power, cycles and blocks left out: worked by hand where it can be, laws where not."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_market import small_market

from core.json import plain
from core.progress import silent
from evaluation.bootstrap import WIDENING, skill_interval
from evaluation.comparison import cumulative_lead, minimum_detectable_effect
from evaluation.sample import EvaluationSample, evaluation_sample
from models.catalog import CLAIM, COMPOSITES
from models.pool import Pool
from training.robustness import (
    CYCLES,
    LEFT_OUT,
    LOOKBACK,
    BlockContribution,
    ablation,
    by_year,
    forecast_cycle,
    leave_one_cycle_out,
    outside,
    panel_of,
    sharpness,
)
from training.settings import TrainSettings
from training.verify import walk_all
from training.walk_forward import forecast, quarters, usable

SETTINGS = TrainSettings(first_test=pd.Timestamp("2021-01-01"))
DATA = small_market(SETTINGS)
FOLDS = usable(quarters(SETTINGS.first_test, DATA.until), DATA.outcomes)
SPAN = (SETTINGS.first_test, DATA.until)
KEYS = {"reliability", "sharpness", "by_year", "minimum_detectable_effect", "years_for_0_05"}


@pytest.fixture(scope="module")
def forecasts() -> dict[str, pd.DataFrame]:
    walks = walk_all(DATA, SETTINGS, ["hazard", "pool"], FOLDS, silent)
    return {name: walk.probabilities for name, walk in walks.items()}


@pytest.fixture(scope="module")
def found(forecasts: dict[str, pd.DataFrame]) -> EvaluationSample:
    return evaluation_sample(forecasts, DATA.outcomes.events, 60)


@pytest.fixture(scope="module")
def blocks() -> list[BlockContribution]:
    return ablation(DATA, SETTINGS, FOLDS, SPAN)


def test_the_panel_holds_its_fields_for_every_model_and_horizon(forecasts: dict[str, pd.DataFrame]) -> None:
    panel = panel_of(forecasts, DATA, SETTINGS)
    assert set(panel) == {(name, days) for name in forecasts for days in (30, 60, 90)}
    assert all(set(fields) == KEYS for fields in panel.values())
    json.dumps([*panel.values()], allow_nan=False)
    assert set(panel_of(forecasts, DATA, SETTINGS, ["hazard"])) == {("hazard", days) for days in (30, 60, 90)}


def test_parts_of_the_panel_add_up_to_the_brier_score(forecasts: dict[str, pd.DataFrame], found: EvaluationSample) -> None:
    fields = panel_of(forecasts, DATA, SETTINGS, ["hazard"])["hazard", 60]
    parts = fields["reliability"]
    brier = found.loss("hazard").mean()
    assert parts["miscalibration"] - parts["discrimination"] + parts["uncertainty"] == pytest.approx(brier, abs=1e-12)
    assert sum(row["n"] * row["brier"] for row in fields["by_year"]) == pytest.approx(found.loss("hazard").sum())
    assert sum(fields["sharpness"]["histogram"]) == len(found.outcome)


def test_nothing_can_be_told_of_climatology_against_itself(forecasts: dict[str, pd.DataFrame]) -> None:
    fields = panel_of(forecasts, DATA, SETTINGS, ["climatology"])["climatology", 60]
    assert fields["minimum_detectable_effect"]["climatology"] is None
    assert fields["years_for_0_05"]["climatology"] is None
    assert fields["minimum_detectable_effect"]["random_walk"] > 0


def test_days_without_an_outcome_give_missing_fields(forecasts: dict[str, pd.DataFrame]) -> None:
    late = {name: frame.loc["2024-12-20":] for name, frame in forecasts.items()}
    fields = panel_of(late, DATA, SETTINGS, ["hazard"])["hazard", 60]
    assert fields["by_year"] == []
    assert fields["reliability"]["miscalibration"] is None
    assert fields["minimum_detectable_effect"]["momentum"] is None


def test_a_year_is_judged_on_its_own_days(found: EvaluationSample) -> None:
    rows = by_year(found, "hazard", seed=7)
    assert [row.year for row in rows] == [2021, 2022, 2023, 2024]
    here = found.days.year == 2022
    loss, climate = found.loss("hazard")[here], found.loss("climatology")[here]
    assert (rows[1].n, rows[1].base_rate) == (int(here.sum()), pytest.approx(found.outcome[here].mean()))
    assert rows[1].skill_climatology.value == pytest.approx(1 - loss.sum() / climate.sum())
    assert rows[1].n_effective <= rows[1].n * 7 / 60


def test_sharpness_worked_by_hand() -> None:
    sharp = sharpness(np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert sharp.sd == pytest.approx(np.sqrt(0.125))
    assert sharp.quantiles == pytest.approx({"0.05": 0.05, "0.25": 0.25, "0.5": 0.5, "0.75": 0.75, "0.95": 0.95})
    assert sharp.histogram == [1, 0, 1, 0, 0, 1, 0, 1, 0, 1]


def test_the_least_effect_is_that_of_the_formula_and_years_follow() -> None:
    n, noise = 4_000, np.random.default_rng(1).normal(size=4_000)
    reference = np.ones(n)
    found = minimum_detectable_effect(1 - 0.3 * noise, reference, 60, seed=1)
    assert found.minimum_detectable_effect == pytest.approx((1.95996 + 0.84162) * WIDENING * 0.3 / np.sqrt(n), rel=0.08)
    years = n * 7 / 365.25
    assert found.years_for_0_05 == pytest.approx(years * (found.minimum_detectable_effect / 0.05) ** 2)
    twice = minimum_detectable_effect(1 - 0.6 * noise, reference, 60, seed=1)
    assert twice.years_for_0_05 == pytest.approx(4 * found.years_for_0_05)


def test_skill_of_that_size_is_found_four_times_in_five() -> None:
    rng, n = np.random.default_rng(5), 400
    effect = minimum_detectable_effect(1 - 0.3 * rng.normal(size=n), np.ones(n), 7, seed=1).minimum_detectable_effect
    losses = [1 - effect + 0.3 * rng.normal(size=n) for _ in range(200)]
    found = np.mean([skill_interval(loss, np.ones(n), 7, seed=1, draws=300).low > 0 for loss in losses])
    assert 0.76 < found < 0.93


def test_outcomes_around_a_cycle_neither_reach_into_it_nor_look_back_on_it() -> None:
    cycle = CYCLES[0]
    events = outside(DATA.outcomes, cycle)
    before, after = events[events.index < cycle.first], events[events.index > cycle.last]
    assert len(before)
    assert len(after)
    assert (DATA.outcomes.known.loc[before.index].where(before.notna()).max() < cycle.first).all()
    asked = DATA.outcomes.known.loc[cycle.first : cycle.last].max().max()
    assert asked == pd.Timestamp("2018-12-30") + pd.Timedelta(days=91)
    assert after.index[0] - LOOKBACK > asked
    assert after.index[0] - LOOKBACK <= asked + pd.Timedelta(days=7)
    assert not len(events.loc[cycle.first : cycle.last])


def test_forecasts_of_a_cycle_know_nothing_of_what_came_in_it() -> None:
    cycle = CYCLES[1]
    events = DATA.outcomes.events.copy()
    span = slice(cycle.first - pd.Timedelta(days=90), cycle.last + pd.Timedelta(days=90))
    events.loc[span] = 1 - events.loc[span]
    turned = replace(DATA.outcomes, events=events)
    whole, other = (
        forecast_cycle(DATA, SETTINGS, "hazard", cycle, outside(outcomes, cycle).loc[: cycle.first - pd.Timedelta(days=92)])
        for outcomes in (DATA.outcomes, turned)
    )
    pd.testing.assert_frame_equal(whole, other, check_exact=True)
    inside = outside(turned, cycle).index
    assert not ((inside >= cycle.first) & (inside <= cycle.last + LOOKBACK)).any()


def test_cycles_left_out_are_json_and_none_is_called_skill() -> None:
    rows = leave_one_cycle_out(DATA, SETTINGS, ["climatology", "hazard"])
    assert [(row.cycle, row.horizon, row.model) for row in rows] == [
        (cycle.name, days, name) for cycle in CYCLES for days in (30, 60, 90) for name in ("climatology", "hazard")
    ]
    assert all(row.gain.value == 0 for row in rows if row.model == "climatology")
    text = json.dumps([row.to_dict() for row in rows], allow_nan=False)
    assert "skill" not in text
    short = small_market(TrainSettings(start=pd.Timestamp("2022-06-01")), until="2024-12-31")
    assert leave_one_cycle_out(short, SETTINGS, ["climatology"]) == []


def test_what_a_block_adds_is_the_difference_of_two_skills(blocks: list[BlockContribution], found: EvaluationSample) -> None:
    assert [(row.horizon, row.block) for row in blocks] == [(days, block) for days in (30, 60, 90) for block in LEFT_OUT]
    left = [*CLAIM, "blended_volatility", "altcoin_volatility"]
    without = forecast(Pool, DATA.X[left], DATA.outcomes, FOLDS)
    loss = (without.probabilities.loc[found.days, 60] - found.outcome) ** 2
    climate = found.loss("climatology").sum()
    row = next(row for row in blocks if (row.horizon, row.block) == (60, "crypto_state"))
    assert row.incremental.value == pytest.approx((loss.sum() - found.loss("pool").sum()) / climate)
    assert (row.brier, row.brier_without) == (pytest.approx(found.loss("pool").mean()), pytest.approx(loss.mean()))
    assert row.incremental.low <= row.incremental.value <= row.incremental.high
    json.dumps([row.to_dict() for row in blocks], allow_nan=False)


def test_the_block_that_knows_is_the_one_that_adds() -> None:
    told = small_market(SETTINGS, signal=2)
    mixed = replace(DATA, X=DATA.X.assign(ladder=told.X["ladder"]))
    rows = {row.block: row.incremental for row in ablation(mixed, SETTINGS, FOLDS, SPAN) if row.horizon == 60}
    assert rows["ladder"].low > 0
    assert rows["all but crypto_state"].low > 0
    assert max(rows[block].value for block in COMPOSITES if block != "ladder") < rows["ladder"].value / 3
    assert COMPOSITES[:-1] == CLAIM


def test_a_lead_is_summed_week_by_week_and_ends_at_its_total(found: EvaluationSample) -> None:
    lead = cumulative_lead(found, "hazard", "climatology", seed=1)
    each = found.loss("climatology") - found.loss("hazard")
    np.testing.assert_allclose(lead.lead, [each[: row + 1].sum() for row in range(len(each))])
    assert (lead.low <= 0).all()
    assert (lead.high >= 0).all()
    assert lead.high[-1] > lead.high[5]
    json.dumps(lead.to_dict(), allow_nan=False)


def test_a_baseline_that_an_outcome_lacks_is_climatology() -> None:
    outcome, good, bad = np.array([1.0, 0.0]), np.array([0.9, 0.1]), np.array([0.2, 0.8])
    days = pd.DatetimeIndex(["2020-01-05", "2020-01-12"])
    every = EvaluationSample(60, days, dict.fromkeys(("volatility", "climatology", "random_walk", "momentum"), good), outcome)
    some = EvaluationSample(60, days, {"climatology": bad, "momentum": bad}, outcome)
    assert every.baselines == {name: name for name in ("volatility", "climatology", "random_walk", "momentum")}
    assert some.baselines == {
        "volatility": "climatology",
        "climatology": "climatology",
        "random_walk": "climatology",
        "momentum": "momentum",
    }


def test_gaps_between_days_are_counted_in_weeks() -> None:
    days = pd.DatetimeIndex(["2020-01-05", "2020-01-12", "2020-02-02"])
    assert list(EvaluationSample(60, days, {}, np.zeros(3)).weeks()) == [0, 1, 4]


def test_plain_reaches_into_everything() -> None:
    value = {"a": (np.float64("nan"), np.int64(2)), "b": np.array([[1.0, np.inf]]), "c": pd.Timestamp("2020-01-05"), "d": True}
    assert plain(value) == {"a": [None, 2], "b": [[1.0, None]], "c": "2020-01-05", "d": True}
