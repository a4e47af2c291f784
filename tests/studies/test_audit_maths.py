"""The bare maths behind an audit, against values worked by hand and slower ways of counting."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from evaluation.proportions import clopper_pearson
from features.breakout import record_breakouts, year_high_breakouts
from studies.audit.events import event_occurred, first_passage, rallies, rotation_p
from studies.audit.lead_lag import circular_correlation, cross_correlation, holm_p_values, lag_test

DAYS = pd.date_range("2020-01-01", periods=10)


def daily(*closes: float) -> pd.Series:
    """A level, one value a day."""
    return pd.Series(closes, DAYS[: len(closes)], dtype=float)


def sessions(*closes: float) -> pd.Series:
    """A level, one value a session."""
    return pd.Series(closes, pd.bdate_range("2018-01-01", periods=len(closes)), dtype=float)


def numbers(days: pd.DatetimeIndex, close: pd.Series) -> list[int]:
    """Which sessions these are."""
    return [int(number) for number in close.index.get_indexer(days)]


def noise(seed: int, weeks: int = 400) -> pd.Series:
    """Weekly changes without memory."""
    return pd.Series(np.random.default_rng(seed).standard_t(5, weeks), pd.date_range("2010-01-03", periods=weeks, freq="W-SUN"))


def test_first_passage_worked_by_hand() -> None:
    passage = first_passage(daily(10, 12, 13, 11, 14.3, np.nan, 20), 0.3, 3)
    assert passage.wait.tolist() == [2, np.inf, np.inf, 1, 2, np.inf, np.inf]
    assert passage.seen.tolist() == [4, 3, 2, 1, 0, -1, 0]
    assert event_occurred(passage, 1, 2).tolist()[:3] == [1, 0, 0]
    assert event_occurred(passage, 1, 2).isna().tolist()[3:] == [True] * 4, "a close is missing before the window is over"
    assert event_occurred(passage, 2, 3).tolist()[:2] == [1, 0]
    assert event_occurred(passage, 1, 1).iloc[0] == 0, "the rise came later"


@pytest.mark.parametrize("seed", range(3))
def test_first_passage_is_what_a_search_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    level = pd.Series(np.exp(rng.normal(0, 0.1, 200).cumsum()), pd.date_range("2020-01-01", periods=200))
    level.iloc[rng.integers(0, 200, 3)] = np.nan
    events = event_occurred(first_passage(level, 0.2, 30), 5, 30)
    for row in range(200):
        ahead = level.iloc[row + 1 : row + 31]
        if len(ahead) < 30 or ahead.isna().any() or np.isnan(level.iloc[row]):
            assert np.isnan(events.iloc[row])
        else:
            above = (ahead >= 1.2 * level.iloc[row]).to_numpy()
            assert events.iloc[row] == (above.any() and above.argmax() + 1 >= 5)


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (1, 2), (3, 9), (9, 9)])
def test_the_interval_of_a_share_is_exact(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert clopper_pearson(hits, n) == pytest.approx((expected.low, expected.high))
    assert clopper_pearson(0, 0) == (0, 1)


def test_rotations_worked_by_hand() -> None:
    events = np.array([1.0, 0, 0, 1, 0, 0])
    assert rotation_p(events, np.array([0, 3])) == pytest.approx(2 / 6), "two of the six rotations hit twice"
    assert rotation_p(events, np.array([0, 1])) == pytest.approx(4 / 6), "four of six hit once"
    assert rotation_p(events, np.array([1, 2])) == 1, "none is worse than no hit"


def test_breakouts_wait_for_the_quiet_period() -> None:
    close = sessions(100, *[90] * 5, 101, 102, *[90] * 4, 103)
    assert numbers(record_breakouts(close, 5), close) == [6]
    assert numbers(record_breakouts(close, 4), close) == [6, 12]
    assert numbers(record_breakouts(close, 6), close) == []


def test_a_52_week_high_needs_no_record_and_counts_only_sessions_it_knows() -> None:
    close = sessions(200, *[100] * 300, 101, *[100] * 20, 102)
    assert numbers(year_high_breakouts(close, 10), close) == [301, 322]
    assert numbers(year_high_breakouts(close, 49), close) == [301], "49 sessions, from number 252 on, are known to be none"
    assert numbers(year_high_breakouts(close, 50), close) == []
    assert numbers(record_breakouts(close, 10), close) == []


def test_rallies_worked_by_hand() -> None:
    level = daily(100, 80, 100, 110, 95, 120, 84, 80, 110, 100)
    first, second = rallies(level, rise=0.3, fall=0.3, low_days=90)
    assert (first.low, first.high, first.end) == (DAYS[1], DAYS[5], DAYS[6])
    assert (first.days, first.rise) == (5, pytest.approx(0.5))
    assert first.pullback == pytest.approx(95 / 110 - 1)
    assert (second.low, second.high, second.end, second.days) == (DAYS[7], DAYS[8], None, 2)


def test_a_low_older_than_asked_begins_no_rally() -> None:
    assert rallies(daily(100, 110, 120, 129, 139), rise=0.3, fall=0.3, low_days=2) == []
    assert len(rallies(daily(100, 110, 120, 129, 139), rise=0.3, fall=0.3, low_days=4)) == 1


def test_a_rally_is_not_rewritten_by_what_comes_later() -> None:
    rng = np.random.default_rng(5)
    level = pd.Series(np.exp(rng.normal(0, 0.05, 900).cumsum()), pd.date_range("2018-01-01", periods=900))
    late = rallies(level, rise=0.3, fall=0.3, low_days=90)
    early = rallies(level.iloc[:500], rise=0.3, fall=0.3, low_days=90)
    over = [rally for rally in early if rally.end is not None]
    assert len(over) > 2
    assert late[: len(over)] == over


def test_the_later_of_two_series_is_found_and_not_the_other_way_round() -> None:
    driver = noise(1)
    target = 0.5 * driver.shift(3).fillna(0.0) + noise(2)
    found = cross_correlation(driver, target)
    assert found is not None
    assert found.lags[int(np.argmax(found.correlation))] == 3
    assert max(found.correlation) > found.joint_band > found.band
    forward, reverse = lag_test(driver, target), lag_test(target, driver)
    assert forward is not None
    assert reverse is not None
    assert forward.p < 1e-4
    assert 0 < forward.low < forward.effect < forward.high
    assert forward.effect == pytest.approx(sum(forward.parts))
    assert np.argmax(forward.parts) == 0, "the lag is three weeks"
    assert reverse.p > 0.05


def test_the_correlation_on_the_ring_is_that_of_rotated_series() -> None:
    x, y = noise(3, 150).to_numpy(), noise(4, 150).to_numpy()
    expected = [np.corrcoef(x, np.roll(y, -lag))[0, 1] for lag in range(150)]
    np.testing.assert_allclose(circular_correlation(x, y), expected, atol=1e-12)


def test_series_that_know_nothing_of_each_other_seldom_pass() -> None:
    tests = [lag_test(noise(100 + seed, 250), noise(500 + seed, 250)) for seed in range(60)]
    assert sum(test is not None and test.p < 0.05 for test in tests) <= 10, "5 % would be 3; beyond 10 lies 1 in 2,000"


def test_too_few_weeks_are_no_test() -> None:
    assert lag_test(noise(1, 80), noise(2, 80)) is None
    assert cross_correlation(noise(1, 80), noise(2, 80)) is None
    assert lag_test(noise(1) * np.nan, noise(2)) is None
    assert lag_test(noise(1) * 0, noise(2)) is None


def test_holm_worked_by_hand() -> None:
    assert holm_p_values([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm_p_values([]) == []
