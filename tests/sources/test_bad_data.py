"""Whatever a folder of files holds: one clear refusal, or a store that obeys its rules and a report whose counts add up.

`CASES` says how many cases a rule is tried with: quick, and under `-m long`.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import BadInput
from features.altcoin_index import load_index
from sources.batches import BAR_FIELDS, Batch, rows_left_out
from sources.database import TABLES
from sources.layout import batches
from sources.schemas import check_batch
from sources.series import COIN_PRICE, STOCK_PRICE
from sources.store import Store

CASES = (10, 1000)
TODAY = pd.Timestamp("2020-12-31")
Sheets = Mapping[str, pd.DataFrame]


def in_memory() -> Store:
    """An empty store without a file: a thousand of them are made and thrown away."""
    connection = duckdb.connect(":memory:", config={"preserve_insertion_order": "false"})
    connection.execute(TABLES)
    return Store(Path("memory.duckdb"), connection)


def stored(sheets: Sheets) -> tuple[Store, list[Batch], dict[str, int]] | None:
    """A store in memory that took what `sheets` hold, the batches, and new rows by label; None after one clear refusal."""
    store = in_memory()
    new: dict[str, int] = {}
    try:
        made = list(batches(sheets, "files", latest=TODAY))
        for batch in made:
            check_batch(batch)
            new[batch.label] = new.get(batch.label, 0) + store.append(batch, TODAY)
    except BadInput as refused:
        store.close()
        said = str(refused)
        assert "\n" not in said
        assert any(name in said for name in sheets)
        assert len(said) < 600
        return None
    return store, made, new


def require_sound(sheets: Sheets) -> bool:
    """The law of this file; whether anything was stored."""
    taken = stored(sheets)
    if taken is None:
        return False
    store, made, new = taken
    for stem, sheet in sheets.items():
        mine = [batch for batch in made if batch.label == stem]
        kept = sum(len(batch.frame) for batch in mine)
        dropped = sum(sum(rows_left_out(batch.dropped).values()) for batch in mine)
        assert len(sheet) == kept + dropped, f"{stem}: {len(sheet)} rows came, {kept} were kept and {dropped} left out"
        assert new[stem] == kept
    require_schema(store)
    store.close()
    return True


def require_schema(store: Store) -> None:
    """Every stored row is possible."""
    bars = store._run("SELECT * FROM bars").df()
    values = bars[list(BAR_FIELDS)].to_numpy(dtype=float)
    assert ((values > 0) | np.isnan(values)).all()
    assert np.isfinite(values[~np.isnan(values)]).all()
    assert not np.isnan(values).all(axis=1).any()
    assert (bars["known"] >= bars["observed"]).all()
    assert (bars["observed"] <= TODAY).all()
    assert not bars.duplicated(["symbol_id", "observed", "version"]).any()
    observations = store._run("SELECT * FROM observations").df()
    assert np.isfinite(observations["value"].to_numpy(dtype=float)).all()
    assert not observations.duplicated(["series", "observed", "version"]).any()


def weekdays(count: int) -> pd.DatetimeIndex:
    return pd.bdate_range("2020-01-01", periods=count)


def prices(close: list[Any], days: Any = None) -> pd.DataFrame:
    days = weekdays(len(close)) if days is None else days
    return pd.DataFrame({"date": days, "ticker": "IWM", "close": close, "adj_close": close, "volume": 1.0})


def coins(price: list[Any], *, days: Any = None, asset: Any = "aave", asset_class: Any = "coin") -> pd.DataFrame:
    days = pd.date_range("2020-01-01", periods=len(price)) if days is None else days
    return pd.DataFrame({"date": days, "asset": asset, "asset_class": asset_class, "price": price, "volume": 1.0})


def macro(value: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"date": weekdays(len(value)), "series": "WALCL", "value": value})


GOOD = st.floats(1e-9, 1e9)
ANY = st.one_of(GOOD, st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 5e-324, 1.7e308, -1e-300]))
COLUMN = st.lists(ANY, min_size=1, max_size=12)


@given(COLUMN, COLUMN, COLUMN)
def any_numbers(close: list[float], price: list[float], value: list[float]) -> None:
    require_sound({"prices": prices(close), "crypto": coins(price), "fred": macro(value)})


@given(st.lists(st.one_of(GOOD, st.just(math.nan)), min_size=1, max_size=12))
def missing_numbers(price: list[float]) -> None:
    """A number may be missing: never refused, and never 0."""
    assert require_sound({"crypto": coins(price).drop(columns="volume"), "fred": macro(price)})


@given(st.lists(GOOD, min_size=1, max_size=8), st.sampled_from([math.inf, -math.inf]), st.data())
def infinite_numbers(price: list[float], bad: float, data: st.DataObject) -> None:
    price[data.draw(st.integers(0, len(price) - 1))] = bad
    assert not require_sound({"crypto": coins(price)})


@given(st.lists(GOOD, min_size=1, max_size=8), st.floats(max_value=-1e-300, allow_infinity=False), st.data())
def negative_prices(price: list[float], bad: float, data: st.DataObject) -> None:
    price[data.draw(st.integers(0, len(price) - 1))] = bad
    assert not require_sound({"prices": prices(price)})
    assert not require_sound({"crypto": coins(price)})


@given(st.lists(GOOD, min_size=2, max_size=10), st.data())
def duplicates(price: list[float], data: st.DataObject) -> None:
    """Two rows of one name and day are refused wherever they stand, even where they say the same."""
    sheet = coins(price)
    again = sheet.iloc[[data.draw(st.integers(0, len(price) - 1))]]
    place = data.draw(st.integers(0, len(price)))
    assert not require_sound({"crypto": pd.concat([sheet.iloc[:place], again, sheet.iloc[place:]])})


@given(st.lists(GOOD, min_size=2, max_size=10).flatmap(lambda price: st.tuples(st.just(price), st.permutations(range(len(price))))))
def out_of_order(drawn: tuple[list[float], list[int]]) -> None:
    """The order of rows decides nothing."""
    price, order = drawn
    names = []
    for sheet in (coins(price), coins(price).iloc[order]):
        taken = stored({"crypto": sheet})
        assert taken is not None
        names.append(taken[0].snapshot(TODAY))
        taken[0].close()
    assert names[0] == names[1]


ZONES = ("+00:00", "Z", "-05:00", "-04:00", "+09:00", "+05:30", "+14:00", "-12:00")


@given(st.lists(st.tuples(st.integers(0, 23), st.sampled_from(ZONES)), min_size=1, max_size=8))
def mixed_zones(stamps: list[tuple[int, str]]) -> None:
    """Each moment falls on its UTC day, worked out here by hand; two on one day are duplicates."""
    texts = [f"2020-02-{3 * number + 2:02d}T{hour:02d}:00:00{zone}" for number, (hour, zone) in enumerate(stamps)]
    expected = [pd.Timestamp(text).tz_convert("UTC").tz_localize(None).normalize() for text in texts]
    taken = stored({"crypto": coins([1.0] * len(texts), days=texts)})
    assert taken is not None
    assert list(taken[0].read_panel(COIN_PRICE, TODAY).index) == expected
    taken[0].close()


@given(st.sampled_from(["America/New_York", "Europe/Berlin", "Australia/Sydney"]), st.integers(2000, 2019), st.integers(0, 23))
def clock_changes(zone: str, year: int, hour: int) -> None:
    """A whole year of local times, clock changes among them: a day is kept once, or the file is refused."""
    days = pd.date_range(f"{year}-01-01", periods=366) + pd.Timedelta(hours=hour)
    local = days.tz_localize(zone, nonexistent="shift_forward", ambiguous=True)
    utc_days = local.tz_convert("UTC").tz_localize(None).normalize()
    assert require_sound({"crypto": coins([1.0] * len(local), days=local)}) == utc_days.is_unique


@given(st.integers(10, 40), st.integers(0, 6))
def calendars(count: int, offset: int) -> None:
    """Stocks rest at weekends and coins don't: neither is given a day it hasn't."""
    coin_days = pd.date_range("2020-01-01", periods=count) + pd.Timedelta(days=offset)
    stock_days = coin_days[coin_days.day_of_week < 5]
    stocks = pd.DataFrame({"date": stock_days, "ticker": "A", "close": 1.0, "delisted": False})
    taken = stored({"crypto": coins([1.0] * count, days=coin_days), "constituents": stocks})
    assert taken is not None
    assert list(taken[0].read_panel(COIN_PRICE, TODAY).index) == list(coin_days)
    assert list(taken[0].read_panel(STOCK_PRICE, TODAY).index) == list(stock_days)
    taken[0].close()


def index_of(*sheets: pd.DataFrame) -> Any:
    """The altcoin index of some coins, with enough volume to be ranked."""
    taken = stored({"crypto": pd.concat(sheets, ignore_index=True)})
    assert taken is not None
    found = load_index(taken[0], TODAY)
    taken[0].close()
    return found


@given(st.integers(75, 130), st.floats(0.5, 2.0))
def a_coin_renamed(last: int, growth: float) -> None:
    """Under its new name it is another coin: the old one is counted as stopped, no jump is made up, the new one enters later."""
    steady = [coins([1.0 + 0.01 * day for day in range(200)], asset=f"c{number}") for number in range(4)]
    path = [growth ** (day / 200) for day in range(200)]
    old = coins(path[:last], asset="matic")
    new = coins(path[last:], asset="pol", days=pd.date_range("2020-01-01", periods=200)[last:])
    found = index_of(*steady, old, new)
    assert "matic" in set(found.stopped["symbol"])
    entered = found.members.loc[found.members["symbol"] == "pol", "month_end"]
    assert entered.empty or entered.min() >= new["date"].iloc[0] + pd.Timedelta(days=30)
    assert found.level.dropna().pct_change().abs().max() < 0.25


@given(st.integers(75, 190), st.floats(25.0, 1e6), st.booleans(), st.booleans())
def a_coin_redenominated(day: int, ratio: float, down: bool, capped: bool) -> None:
    """No return is made of it: its price is kept in the unit before, or its rows are held back."""
    sheets = [coins([1.0 + 0.01 * row for row in range(200)], asset=f"c{number}") for number in range(5)]
    if capped:
        sheets = [sheet.assign(market_cap=sheet["price"] * 1e9) for sheet in sheets]
    changed = sheets[0].index >= day
    sheets[0]["price"] = sheets[0]["price"].where(~changed, sheets[0]["price"] * (1 / ratio if down else ratio))
    assert index_of(*sheets).level.dropna().pct_change().abs().max() < 0.05


@given(st.lists(st.floats(0.001, 5.0), min_size=200, max_size=200))
def a_stablecoin_off_its_peg(price: list[float]) -> None:
    """Whatever it does to its price, it is no altcoin."""
    others = [coins([1.0 + 0.01 * day for day in range(200)], asset=f"c{number}") for number in range(4)]
    found = index_of(*others, coins(price, asset="ust", asset_class="stablecoin"))
    assert "ust" not in set(found.members["symbol"])
    pd.testing.assert_series_equal(found.level, index_of(*others).level)


@given(st.text(max_size=80), st.sampled_from(["asset", "asset_class", "date"]))
def any_text(text: str, column: str) -> None:
    """Any text at all for a name, a class or a day."""
    require_sound({"crypto": coins([1.0, 2.0]).astype({"date": "str"}).assign(**{column: [text, "2020-01-05"]})})


@given(st.lists(st.booleans(), min_size=1, max_size=12), COLUMN)
def flags_and_numbers(flags: list[bool], price: list[float]) -> None:
    """Bad ticks are left out and counted, with whatever stands beside them."""
    count = min(len(flags), len(price))
    require_sound({"crypto": coins(price[:count]).assign(bad_tick=flags[:count])})


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 4), st.booleans(), ANY), min_size=1, max_size=12))
def names_in_both_groups(rows: list[tuple[str, int, bool, float]]) -> None:
    """A stock listed as survivor and as delisted on one day is kept once, and that is counted."""
    sheet = pd.DataFrame(rows, columns=["ticker", "date", "delisted", "close"])
    require_sound({"constituents": sheet.assign(date=weekdays(5)[sheet["date"]])})


RULES = (
    any_numbers, missing_numbers, infinite_numbers, negative_prices, duplicates, out_of_order, mixed_zones, clock_changes,
    calendars, a_coin_renamed, a_coin_redenominated, a_stablecoin_off_its_peg, any_text, flags_and_numbers, names_in_both_groups,
)  # fmt: skip
SLOW = (a_coin_renamed, a_coin_redenominated, a_stablecoin_off_its_peg, clock_changes)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_bad_data_is_repaired_or_refused_and_always_reported(rule: Callable[..., None]) -> None:
    few = CASES[0] // 3 if rule in SLOW else CASES[0]
    tried(rule, few)


@pytest.mark.long
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_bad_data_of_a_thousand_kinds(rule: Callable[..., None]) -> None:
    tried(rule, CASES[1])


def tried(rule: Callable[..., None], count: int) -> None:
    """Put `count` cases to a rule."""
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.large_base_example]
    settings(max_examples=count, deadline=None, suppress_health_check=quiet, database=None)(rule)()
