"""Following the forecasts: bookkeeping worked by hand, nothing known before its time, and chance beside it."""

import json

import numpy as np
import pandas as pd
import pytest

from core.errors import MissingData
from studies.backtest import BITCOIN, INDEX, RULE, RULE_BITCOIN, Following, following, path_of, tape_of

SUNDAYS = pd.date_range("2020-01-05", periods=120, freq="W-SUN")
DAYS = pd.date_range("2019-12-01", SUNDAYS[-1] + pd.Timedelta(days=20))


def walk(seed: int, sd: float = 0.04) -> pd.Series:
    return pd.Series(np.exp(np.cumsum(np.random.default_rng(seed).normal(0, sd, len(DAYS)))), DAYS)


def guesses(seed: int = 3) -> pd.Series:
    return pd.Series(0.4 + 0.1 * np.repeat(np.random.default_rng(seed).normal(size=24), 5), SUNDAYS)


def followed(
    probability: pd.Series | None = None, level: pd.Series | None = None, bitcoin: pd.Series | None = None, cost: float = 0.005
) -> Following:
    probability = guesses() if probability is None else probability
    base_rate = pd.Series(0.4, probability.index)
    index, other = walk(1) if level is None else level, walk(2) if bitcoin is None else bitcoin
    names = {"model": "hazard", "market": "simulated", "horizon": 60, "trials": 65, "seed": 7}
    return following(probability, base_rate, index, other, cost=cost, **names)


def test_bookkeeping_worked_by_hand() -> None:
    """In on Monday 6th at 100, out on 13th at 150, in on 20th at 120, 180 at the end: 1.5 times 1.5, less three deals."""
    sundays = pd.to_datetime(["2020-01-05", "2020-01-12", "2020-01-19"])
    days = pd.date_range("2020-01-01", "2020-01-22")
    level = pd.Series(100.0, days)
    level["2020-01-08":"2020-01-14"] = 150.0
    level["2020-01-15":"2020-01-20"] = 120.0
    level["2020-01-21":] = 180.0
    bitcoin = pd.Series(10.0, days)
    bitcoin["2020-01-16":] = 20.0
    found = followed(pd.Series([0.5, 0.3, 0.6], sundays), level, bitcoin, cost=0.01)
    cash, other, index, coin = found.records
    assert [one.name for one in found.records] == [RULE, RULE_BITCOIN, INDEX, BITCOIN]
    assert cash.wealth == pytest.approx(1.5 * 1.5 * 0.99**3)
    assert other.wealth == pytest.approx(1.5 * 2 * 1.5 * 0.99**5)
    assert (index.wealth, coin.wealth) == (pytest.approx(1.8 * 0.99), pytest.approx(2 * 0.99))
    assert (cash.switches, cash.exposure) == (2, pytest.approx(9 / 16))
    assert cash.costs == pytest.approx(1 - 0.99**3)
    assert cash.turnover == pytest.approx(3 * 365.25 / 16)
    assert cash.growth == pytest.approx((1.5 * 1.5 * 0.99**3) ** (365.25 / 16) - 1)
    assert index.maximum_drawdown == pytest.approx(1 - 120 / 150)
    assert cash.maximum_drawdown == pytest.approx(1 - 0.99**2)
    assert (found.first, found.last) == (pd.Timestamp("2020-01-06"), pd.Timestamp("2020-01-22"))
    assert np.isnan(found.leads[0].log_growth.low)
    assert "too few weeks" in found.sentence


def test_a_gain_between_decision_and_dealing_is_nobodys() -> None:
    level = pd.Series(100.0, DAYS)
    level[SUNDAYS[10] + pd.Timedelta(days=1) :] = 200.0
    only = pd.Series(0.1, SUNDAYS)
    only.iloc[10] = 0.9
    assert followed(only, level, cost=0).records[0].wealth == pytest.approx(1)
    only.iloc[9] = 0.9
    assert followed(only, level, cost=0).records[0].wealth == pytest.approx(2)


@pytest.mark.parametrize("week", [30, 77])
def test_wealth_up_to_a_day_owes_nothing_to_what_comes_after(week: int) -> None:
    whole, dealt = followed(), SUNDAYS[week] + pd.Timedelta(days=1)
    level, bitcoin, probability = walk(1), walk(2), guesses()
    for series in (level, bitcoin):
        series[series.index > dealt] *= np.random.default_rng(9).lognormal(0, 1, int((series.index > dealt).sum()))
    probability[probability.index > SUNDAYS[week]] = 1 - probability
    changed = followed(probability, level, bitcoin)
    pd.testing.assert_frame_equal(whole.curves.loc[:dealt], changed.curves.loc[:dealt], check_exact=True)
    pd.testing.assert_series_equal(whole.inside.loc[: SUNDAYS[week]], changed.inside.loc[: SUNDAYS[week]])
    assert not whole.curves.iloc[-1].equals(changed.curves.iloc[-1])


def test_the_dearer_dealing_the_less_is_left() -> None:
    each = [[one.wealth for one in followed(cost=cost).records] for cost in (0, 0.002, 0.005, 0.02)]
    assert (np.diff(each, axis=0) < 0).all()
    spent = [followed(cost=cost).records[1].costs for cost in (0, 0.005)]
    assert spent[0] == 0 < spent[1]


def test_who_is_always_in_has_what_the_index_has() -> None:
    found = followed(pd.Series(0.9, SUNDAYS))
    assert found.records[0].wealth == found.records[2].wealth
    assert found.leads[0].log_growth.value == 0
    assert found.timings[0].p == 1


def test_a_level_forecast_is_not_above_the_base_rate() -> None:
    found = followed(pd.Series(0.4, SUNDAYS))
    assert found.records[0].wealth == 1
    assert found.records[1].wealth == pytest.approx(found.records[3].wealth)


def test_other_timings_are_the_same_weeks_turned_and_who_knows_beats_them() -> None:
    level = walk(4)
    week_later = level.shift(-8).reindex(SUNDAYS) / level.shift(-1).reindex(SUNDAYS)
    found = followed((week_later > 1).astype(float), level)
    timing = found.timings[0]
    assert (timing.shifts, timing.independent) == (120 - 2 * 13 + 1, 120 // 13)
    assert timing.p == pytest.approx(1 / (1 + timing.shifts))
    assert timing.low < timing.mean < timing.high < timing.growth
    turned = followed(pd.Series(np.roll((week_later > 1).astype(float), 20), SUNDAYS), level).records[0].growth
    assert timing.low - 1 < turned < timing.growth
    assert found.leads[0].log_growth.low > 0


def test_guessing_is_not_told_from_chance() -> None:
    found = followed()
    lead = found.leads[0].log_growth
    assert lead.low < 0 < lead.high
    assert 0.05 < found.timings[0].p < 0.95
    wealth = {one.name: one.wealth for one in found.records}
    years = (len(found.curves) - 1) * 7 / 365.25
    ends = np.log(found.curves.iloc[-1] / found.curves.iloc[0])
    assert lead.value == pytest.approx((ends[RULE] - ends[INDEX]) / years)
    assert wealth[RULE] > 0


def test_many_holdings_at_once_are_each_on_its_own() -> None:
    tape = tape_of(SUNDAYS, walk(1), walk(2))
    held = (np.random.default_rng(1).random((5, len(SUNDAYS))) < 0.5).astype(float)
    together = path_of(tape, held, 1 - held, 0.01)
    for row in range(5):
        alone = path_of(tape, held[[row]], 1 - held[[row]], 0.01)
        np.testing.assert_allclose(together.log_wealth[row], alone.log_wealth[0], rtol=0, atol=1e-12)


def test_days_without_a_close_are_bridged_and_counted() -> None:
    level = walk(1)
    level["2020-03-03":"2020-03-04"] = np.nan
    found = followed(level=level)
    assert found.carried == 2
    assert found.records[2].wealth == pytest.approx(followed().records[2].wealth)


def test_it_is_json_and_says_what_it_is_worth() -> None:
    found = followed()
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert len(told["curves"]) == len(told["inside"]) == 120
    assert told["curves"][0]["day"] == "2020-01-06"
    assert told["inside"][0]["decided"] == "2020-01-05"
    for words in ("Simulated market", "An illustration, not a result", "before taxes", "one of 65 configurations", "independent"):
        assert words in told["sentence"]


def test_without_closes_after_a_forecast_there_is_nothing_to_follow() -> None:
    with pytest.raises(MissingData, match="nothing to follow"):
        followed(level=walk(1)[:"2020-01-06"])
    late = walk(1)
    late[:"2020-01-08"] = np.nan
    with pytest.raises(MissingData, match="2020-01-06"):
        followed(level=late)
