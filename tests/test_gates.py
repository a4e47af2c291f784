"""A gate opens for data that is recent and whole, and says in plain words why it does not."""

from pathlib import Path

import pandas as pd
import pytest

from core.errors import GateClosed, MissingData
from sources.batches import Batch
from sources.quality import Freshness, freshness, require
from sources.series import PANELS, SERIES
from sources.store import Store

AS_OF = pd.Timestamp("2024-12-31")


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "store.duckdb") as opened:
        yield opened


def put_spread(store: Store, days: pd.DatetimeIndex) -> None:
    frame = pd.DataFrame({"series": "BAMLH0A0HYM2", "observed": days, "known": days + pd.Timedelta(days=4), "value": 3.0})
    store.append(Batch("fred", "observations", frame, "files"), AS_OF)


def put_coins(store: Store, last_days: list[str]) -> None:
    for number, last in enumerate(last_days):
        days = pd.date_range("2024-06-01", last)
        frame = pd.DataFrame({"symbol": f"coin{number}", "observed": days, "known": days + pd.Timedelta(days=1), "close": 1.0})
        store.append(Batch("crypto", "bars", frame.assign(asset_class="coin"), "files", "coin"), AS_OF)


def verdict(store: Store, name: str, as_of: pd.Timestamp = AS_OF) -> Freshness:
    return {found.series: found for found in freshness(store, as_of)}[name]


def test_every_declared_series_and_panel_has_a_verdict(store: Store) -> None:
    assert [found.series for found in freshness(store, AS_OF)] == [*SERIES, *PANELS]


def test_age_counts_from_the_day_observed_to_the_day_asked(store: Store) -> None:
    put_spread(store, pd.bdate_range("2024-01-02", "2024-12-20"))
    found = verdict(store, "BAMLH0A0HYM2")
    assert found.message == "BAMLH0A0HYM2: last observed 2024-12-20, 11 days before 2024-12-31; limit 11 days: fresh"
    assert (found.age_days, found.limit_days, found.fresh) == (11, 11, True)
    assert (found.observed, found.known) == (pd.Timestamp("2024-12-20"), pd.Timestamp("2024-12-24"))


def test_one_day_older_than_the_limit_is_too_old(store: Store) -> None:
    put_spread(store, pd.bdate_range("2024-01-02", "2024-12-19"))
    found = verdict(store, "BAMLH0A0HYM2")
    assert not found.fresh
    assert found.message.endswith("12 days before 2024-12-31; limit 11 days: too old")
    with pytest.raises(GateClosed, match=r"too old. Run `altrally fetch`"):
        require(freshness(store, AS_OF), ["BAMLH0A0HYM2"])


def test_a_value_not_yet_known_makes_nothing_fresh(store: Store) -> None:
    put_spread(store, pd.bdate_range("2024-01-02", "2024-12-31"))
    assert verdict(store, "BAMLH0A0HYM2").observed == pd.Timestamp("2024-12-27")


def test_a_series_with_holes_is_too_thin(store: Store) -> None:
    days = pd.bdate_range("2024-01-02", "2024-12-30")
    put_spread(store, days[(days.month < 6) | (days.month > 10)])
    found = verdict(store, "BAMLH0A0HYM2")
    assert not found.fresh
    assert "too thin (6" in found.message
    with pytest.raises(GateClosed, match="% of the days expected in the past year"):
        require(freshness(store, AS_OF), ["BAMLH0A0HYM2"])


def test_holidays_make_nothing_thin(store: Store) -> None:
    days = pd.bdate_range("2024-01-02", "2024-12-30")
    put_spread(store, days[days.day != 25])
    assert verdict(store, "BAMLH0A0HYM2").fresh


def test_a_panel_most_of_whose_symbols_fell_silent_is_too_thin(store: Store) -> None:
    put_coins(store, ["2024-12-30", *["2024-12-01"] * 5])
    found = verdict(store, "coin price")
    assert found.coverage == pytest.approx(1 / 6)
    assert not found.fresh
    assert "too thin (17% of the symbols that quoted lately)" in found.message


def test_symbols_long_dead_do_not_thin_a_panel(store: Store) -> None:
    put_coins(store, ["2024-12-30", *["2024-08-01"] * 5])
    assert verdict(store, "coin price").coverage == 1.0
    require(freshness(store, AS_OF), ["coin price"])


def test_what_is_absent_is_missing_and_says_so(store: Store) -> None:
    put_spread(store, pd.bdate_range("2020-01-02", "2020-12-31"))
    found = verdict(store, "BAMLH0A0HYM2")
    assert (found.observed, found.known, found.age_days, found.fresh) == (None, None, None, False)
    assert found.message == "BAMLH0A0HYM2: nothing known from the 365 days before 2024-12-31"
    with pytest.raises(MissingData, match="BAMLH0A0HYM2: nothing known"):
        require(freshness(store, AS_OF), ["BAMLH0A0HYM2", "coin price"])


@pytest.mark.reference
@pytest.mark.parametrize("day", ["2018-07-04", "2021-01-31", "2024-02-29"])
def test_the_reference_market_is_fresh(reference_home: Path, day: str) -> None:
    with Store.open(reference_home / "store.duckdb", read_only=True) as store:
        found = freshness(store, pd.Timestamp(day))
    assert [verdict.message for verdict in found if not verdict.fresh] == []
