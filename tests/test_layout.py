"""What each drop-in file means, on frames small enough to check by eye."""

import pandas as pd
import pytest

from core.errors import BadInput, UnknownName
from sources import layout
from sources.batches import Batch
from sources.schemas import check_batch

NAN = float("nan")
DAYS = pd.DatetimeIndex(["2020-01-01", "2020-01-02"]).as_unit("us")


def only(stem: str, frame: pd.DataFrame) -> Batch:
    (batch,) = layout.batches({stem: frame}, "files")
    check_batch(batch)
    return batch


def rows(batch: Batch, *fields: str) -> list[tuple[object, ...]]:
    """Plain tuples, None where a value is missing."""
    lines = batch.frame[list(fields)].itertuples(index=False, name=None)
    return [tuple(None if pd.isna(value) else value for value in line) for line in lines]


def prices(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"date": DAYS, "ticker": "IWM", "close": [10.0, 11.0], "adj_close": [9.0, 10.0], **columns})


def crypto(**columns: object) -> pd.DataFrame:
    frame = {"date": DAYS, "asset": "aave", "symbol": "AAVE", "asset_class": "coin", "price": [1.0, 2.0]}
    return pd.DataFrame({**frame, "market_cap": [10.0, 20.0], "volume": [5.0, 6.0], **columns})


def constituents(*lines: tuple[int, str, float, bool]) -> pd.DataFrame:
    frame = pd.DataFrame(lines, columns=["day", "ticker", "close", "delisted"])
    return frame.assign(date=DAYS[frame.pop("day")], volume=100.0)


def test_funds_are_known_at_the_close_and_zero_volume_is_missing() -> None:
    batch = only("prices", prices(volume=[0.0, 7.0]))
    assert (batch.table, batch.universe, batch.source, batch.of) == ("bars", "fund", "files", 1)
    assert batch.frame["known"].tolist() == batch.frame["observed"].tolist() == DAYS.tolist()
    assert rows(batch, "symbol", "close", "volume") == [("IWM", 10.0, None), ("IWM", 11.0, 7.0)]
    assert batch.dropped == {"zero or negative": 1}


def test_a_derived_row_has_no_raw_close() -> None:
    batch = only("prices", prices(derived=[1, 0]))
    assert rows(batch, "close", "adj_close") == [(None, 9.0), (11.0, 10.0)]
    assert batch.dropped == {"raw close of a derived row": 1}


def test_coins_are_known_the_next_day() -> None:
    batch = only("crypto", crypto())
    assert batch.frame["known"].tolist() == (DAYS + pd.Timedelta(days=1)).tolist()
    assert rows(batch, "symbol", "close", "market_cap", "volume", "asset_class") == [
        ("aave", 1.0, 10.0, 5.0, "coin"),
        ("aave", 2.0, 20.0, 6.0, "coin"),
    ]


def test_bad_ticks_go_and_suspect_market_caps_are_missing() -> None:
    batch = only("crypto", crypto(bad_tick=[True, False], mcap_suspect=[True, True]))
    assert rows(batch, "close", "market_cap") == [(2.0, None)]
    assert batch.dropped == {"bad tick": 1, "suspect market cap": 1}


def test_a_row_that_says_nothing_is_left_out_and_counted() -> None:
    batch = only("crypto", crypto(price=[0.0, 2.0], market_cap=[NAN, 20.0], volume=[0.0, 6.0]))
    assert rows(batch, "close") == [(2.0,)]
    assert batch.dropped == {"zero or negative": 2, "empty row": 1}


def test_contradictory_ranges_keep_their_close_only() -> None:
    frame = prices(open=1.0, high=2.0, low=0.5, ohlc_ok=[False, True]).rename(columns={"ticker": "symbol"})
    batch = only("crypto_ohlcv", frame)
    assert batch.universe == "coin_ohlc"
    assert rows(batch, "open", "high", "low", "close") == [(None, None, None, 10.0), (1.0, 2.0, 0.5, 11.0)]
    assert batch.dropped == {"contradictory open, high, low": 1}


def test_a_stock_in_both_groups_keeps_the_survivors_row() -> None:
    frame = constituents((0, "AHH", 99.0, True), (0, "AHH", 10.0, False), (1, "AHH", 98.0, True), (0, "GONE", 5.0, True))
    batch = only("constituents", frame)
    assert sorted(rows(batch, "symbol", "close", "asset_class")) == [
        ("AHH", 10.0, "survivor"),
        ("AHH", 98.0, "survivor"),
        ("GONE", 5.0, "delisted"),
    ]
    assert batch.dropped == {"in both groups on one day": 1}


def test_a_stock_price_adjusted_below_zero_is_missing() -> None:
    batch = only("constituents", constituents((0, "HCHC", -1.5, False), (1, "HCHC", 2.0, False)))
    assert rows(batch, "close") == [(None,), (2.0,)]


def test_only_declared_series_are_kept_each_with_its_lag() -> None:
    frame = pd.DataFrame(
        {"date": DAYS[[0, 0, 1, 1]], "series": ["WALCL", "OTHER", "T10Y2Y", "WALCL"], "value": [1.0, 2.0, -3.0, NAN]}
    )
    batch = only("fred", frame)
    lag = pd.Timedelta(days=1)
    assert (batch.table, batch.universe) == ("observations", None)
    assert rows(batch, "series", "known", "value") == [("WALCL", DAYS[0] + 2 * lag, 1.0), ("T10Y2Y", DAYS[1] + lag, -3.0)]
    assert batch.dropped == {"undeclared series": 1, "missing": 1}


def test_stablecoins_become_one_series() -> None:
    batch = only("stablecoins", pd.DataFrame({"date": DAYS, "total_usd_best": [0.0, 5e9]}))
    assert rows(batch, "series", "known", "value") == [("stablecoin_supply", DAYS[1] + pd.Timedelta(days=1), 5e9)]
    assert batch.dropped == {"missing": 1}


def test_a_long_file_comes_in_spans_of_whole_years(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ROWS_A_BATCH", 300)
    days = pd.date_range("2017-01-01", "2020-12-31")
    frame = pd.DataFrame({"date": days, "ticker": "IWM", "close": 1.0, "adj_close": 1.0, "volume": 0.0})
    parts = list(layout.batches({"prices": frame.sample(frac=1, random_state=1)}, "files"))
    years = [set(part.frame["observed"].dt.year) for part in parts]
    assert years == [{2017}, {2018}, {2019}, {2020}]
    assert sum(len(part.frame) for part in parts) == len(days)
    assert [part.of for part in parts] == [4] * 4
    assert sum(part.dropped.get("zero or negative", 0) for part in parts) == len(days)


def test_every_file_is_judged_before_the_first_batch() -> None:
    with pytest.raises(BadInput, match="crypto: column 'price'"):
        layout.batches({"prices": prices(), "crypto": crypto(price=[1.0, -2.0])}, "files")


def test_an_unknown_file_is_named_with_its_neighbour() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'prices'"):
        layout.batches({"price": prices()}, "files")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"observed": DAYS + pd.Timedelta(hours=3), "known": DAYS + pd.Timedelta(days=1)},
            "holds 2020-01-01 03:00:00 .* midnight",
        ),
        ({"known": DAYS - pd.Timedelta(days=1)}, "no later than the day it was known"),
        ({"close": [1.0, 0.0]}, "'close' holds 0.0 in data row 2; it must be a finite number above 0"),
        ({"volume": [float("inf"), 1.0]}, "'volume' holds inf"),
        ({"symbol": ["IWM", None]}, "'symbol' holds nothing in data row 2; it must be present"),
    ],
)
def test_a_batch_that_cannot_be_true_is_refused(columns: dict[str, object], words: str) -> None:
    frame = pd.DataFrame({"symbol": ["IWM", "IWM"], "observed": DAYS, "known": DAYS, **columns}, index=[7, 7])
    with pytest.raises(BadInput, match=words):
        check_batch(Batch("funds", "bars", frame, "yahoo", "fund"))


def test_an_observation_without_a_value_is_refused() -> None:
    frame = pd.DataFrame({"series": "WALCL", "observed": DAYS, "known": DAYS, "value": [1.0, NAN]})
    with pytest.raises(BadInput, match="fred: column 'value' holds nothing in data row 2"):
        check_batch(Batch("fred", "observations", frame, "fred"))
