"""Only what can be new is asked for, and no faster than a service allows."""

from dataclasses import replace
from threading import Thread

import pandas as pd
import pytest

from sources.due import is_due, last_session, over_in
from sources.http import RetryPolicy, Site
from sources.series import FED_ASSETS, POLICY_RATE, REVERSE_REPO, Series


def values(*days: str) -> pd.Series:
    return pd.Series(1.0, pd.DatetimeIndex(days))


@pytest.mark.parametrize(
    ("series", "last", "first_asked"),
    [
        (FED_ASSETS, "2024-12-18", "2024-12-27"),
        (REVERSE_REPO, "2024-12-18", "2024-12-20"),
        (POLICY_RATE, "2024-12-18", "2024-12-23"),
    ],
)
def test_a_series_is_asked_for_from_the_day_its_next_value_can_be_known(series: Series, last: str, first_asked: str) -> None:
    days = pd.date_range("2024-12-19", "2024-12-31 23:59", freq="6h")
    asked = [day for day in days if is_due(series, values(last), day)]
    assert asked[0] == pd.Timestamp(first_asked)
    assert len(asked) == len(days[days >= first_asked])


def test_a_series_with_a_week_missing_of_late_is_asked_for_until_it_comes() -> None:
    today = pd.Timestamp("2024-12-19 07:00")
    assert not is_due(FED_ASSETS, values("2024-12-04", "2024-12-11", "2024-12-18"), today)
    assert is_due(FED_ASSETS, values("2024-12-04", "2024-12-18"), today)
    assert not is_due(FED_ASSETS, values("2024-08-07", "2024-12-11", "2024-12-18"), today)
    assert is_due(FED_ASSETS, values().astype("float64"), today)


@pytest.mark.parametrize(
    ("ticker", "moment", "last"),
    [
        ("SPY", "2024-12-24 01:00", "2024-12-23"),
        ("SPY", "2024-12-23 23:00", "2024-12-20"),
        ("DX-Y.NYB", "2024-12-24 01:00", "2024-12-20"),
        ("DX-Y.NYB", "2024-12-24 06:00", "2024-12-23"),
        ("BTC-USD", "2024-12-23 01:00", "2024-12-22"),
        ("TA35.TA", "2024-12-23 01:00", "2024-12-22"),
    ],
)
def test_a_ticker_is_asked_for_after_the_last_day_that_is_over(ticker: str, moment: str, last: str) -> None:
    assert last_session(ticker, over_in(ticker, pd.Timestamp(moment))) == pd.Timestamp(last)


def test_requests_keep_the_pace_of_a_site_whatever_thread_they_come_from() -> None:
    waits: list[float] = []
    patience = replace(RetryPolicy(), pause=0.6, burst=10, sleep=waits.append, clock=lambda: 100.0)
    site = Site("Coin Metrics", "", patience)
    threads = [Thread(target=site.take_turn) for _ in range(25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == pytest.approx([6.0] * 10 + [12.0] * 5)
