"""Whatever a file looks like, a cell is read as what it says, or refused by file, column and row: never as something else."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.errors import BadInput
from core.progress import silent
from sources.batches import BAR_FIELDS
from sources.fetch import FetchReport, fetch
from sources.series import COIN_PRICE, FED_ASSETS, FUND_CLOSE, FUND_PRICE, FUND_VOLUME, STOCK_PRICE
from sources.store import Store

TODAY = pd.Timestamp("2020-06-02 12:00")  # a Tuesday
FAR = pd.Timestamp("2030-01-01")
WHOLE = {
    "prices": "date,ticker,close,adj_close,volume\n2020-05-28,IWM,162.5,161.5,1000\n2020-05-29,IWM,163.25,162.25,1100\n",
    "fred": "date,series,value\n2020-05-20,WALCL,7000000.5\n2020-05-27,WALCL,7100000.5\n",
    "crypto": "date,asset,asset_class,price,market_cap\n2020-05-30,aave,coin,12.5,1000\n2020-05-31,aave,coin,13.5,1100\n",
    "crypto_ohlcv": "date,symbol,open,high,low,close\n2020-05-30,ETH,1,2.25,0.5,1.25\n2020-05-31,ETH,1,2.75,0.5,1.75\n",
    "constituents": "date,ticker,close,volume,delisted\n2020-05-28,ABC,12.25,500,false\n2020-05-29,ABC,12.75,600,false\n",
    "membership": "ticker,from,to\nABC,2019-01-01,2019-12-31\nABC,2020-02-03,2020-05-29\n",
    "stablecoins": "date,total_usd_best\n2020-05-30,9000000.5\n2020-05-31,9100000.5\n",
}
DAILY = [stem for stem in WHOLE if stem != "membership"]


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home" / "store.duckdb") as opened:
        yield opened


def fetched(store: Store, drop: Path, today: pd.Timestamp = TODAY, **files: str) -> FetchReport:
    """Fetch a folder of these CSV files."""
    for stem, text in files.items():
        (drop / f"{stem}.csv").write_text(text)
    return fetch(store, "files", path=drop, today=today, progress=silent)


def stored(store: Store) -> set[tuple[Any, ...]]:
    """Every name, day and number there is."""
    values = f"unnest([{', '.join(BAR_FIELDS)}])"
    rows = store._run(
        f"""SELECT symbol, observed, {values} FROM bars JOIN symbols ON id = symbol_id
            UNION ALL SELECT series, observed, value FROM observations"""
    ).fetchall()
    return {row for row in rows if row[2] is not None}


# A text that was cut off


@pytest.mark.parametrize("stem", WHOLE)
def test_a_text_cut_anywhere_in_its_last_line_stores_no_number_that_was_not_written(tmp_path: Path, drop: Path, stem: str) -> None:
    text = WHOLE[stem]
    with Store.open(tmp_path / "whole.duckdb") as whole:
        fetched(whole, drop, **{stem: text})
        written = stored(whole)
    last = text[:-1].rindex("\n") + 1
    for cut in range(last + 1, len(text)):
        with Store.open(tmp_path / f"{cut}.duckdb") as store:
            with pytest.raises(BadInput, match=r"breaks off in its last line .* Copy the file again") as caught:
                fetched(store, drop, **{stem: text[:cut]})
            assert f"{stem}.csv" in str(caught.value)
            assert "\n" not in str(caught.value)
            assert stored(store) <= written
            assert store.market is None


@pytest.mark.parametrize("stem", WHOLE)
@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_lines_may_end_as_on_any_system(store: Store, drop: Path, stem: str, ends: str) -> None:
    (drop / f"{stem}.csv").write_bytes(WHOLE[stem].replace("\n", ends).encode())
    assert fetched(store, drop).lines[0].came == 2


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("2020-06-01,IWM,16", r"line 4 has fewer cells than its first line has names"),
        ("2020-06-01,IWM,16,16,1000,7", r"line 4 has more cells than its first line has names"),
        ('2020-06-01,IWM,16,16,"1000', r"never closed"),
    ],
)
def test_a_row_of_another_length_is_refused_by_its_line(store: Store, drop: Path, row: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        fetched(store, drop, prices=f"{WHOLE['prices']}{row}\n")
    assert store.market is None


def test_a_list_of_tickers_cut_off_is_refused(tmp_path: Path) -> None:
    from sources.constituents import LIST, listed

    (tmp_path / LIST).write_text("ABCB\nAB")
    with pytest.raises(BadInput, match=r"breaks off in its last line \('AB'\)"):
        listed(tmp_path)


# A day that isn't over


def today_too(stem: str, day: str = "2020-06-02") -> str:
    """The file with a row more, of a day."""
    last = WHOLE[stem].splitlines()[-1]
    return WHOLE[stem] + last.replace(last.split(",")[0], day, 1) + "\n"


@pytest.mark.parametrize("stem", DAILY)
def test_a_day_that_is_not_over_is_left_out_counted_and_comes_when_it_is(store: Store, drop: Path, stem: str) -> None:
    report = fetched(store, drop, **{stem: today_too(stem)})
    assert report.lines[0].left_out == {"running day": 1}
    assert (report.lines[0].came, report.lines[0].received) == (3, 2)
    days = {day for _, day, _ in stored(store)}
    assert max(days) < TODAY.date()
    later = fetched(store, drop, TODAY + pd.Timedelta(days=1), **{stem: today_too(stem)})
    assert (later.lines[0].new, later.lines[0].left_out) == (1, {})
    assert not [line for line in later.warnings if "rewrote" in line]


@pytest.mark.parametrize("stem", DAILY)
def test_a_day_after_today_is_refused(store: Store, drop: Path, stem: str) -> None:
    with pytest.raises(BadInput, match=r"'date' holds 2020-06-03 in data row 3; it must be a day from 1900-01-01 to 2020-06-02"):
        fetched(store, drop, **{stem: today_too(stem, "2020-06-03")})


@pytest.mark.parametrize(
    ("stem", "hour", "kept"), [("crypto", 12, 2), ("crypto", 23, 2), ("prices", 12, 2), ("prices", 22, 3), ("stablecoins", 9, 2)]
)
def test_a_file_written_before_its_last_day_was_over_keeps_that_day_for_later(
    store: Store, drop: Path, stem: str, hour: int, kept: int
) -> None:
    """Funds are quoted until 21 h UTC, coins until midnight."""
    (drop / f"{stem}.csv").write_text(today_too(stem, "2020-06-01"))
    written = pd.Timestamp("2020-06-01", tz="UTC") + pd.Timedelta(hours=hour)
    os.utime(drop / f"{stem}.csv", (written.timestamp(), written.timestamp()))
    report = fetched(store, drop)
    assert (report.lines[0].came, report.lines[0].received) == (3, kept)
    assert report.lines[0].left_out == ({"running day": 1} if kept == 2 else {})


# Names of files and columns


@pytest.mark.parametrize("name", ["Crypto.CSV", "CRYPTO.csv", "crypto.Csv"])
def test_the_case_of_a_files_name_does_not_matter(store: Store, drop: Path, name: str) -> None:
    (drop / name).write_text(WHOLE["crypto"])
    assert fetched(store, drop).lines[0].received == 2
    with pytest.raises(BadInput, match="keep one"):
        fetched(store, drop, crypto=WHOLE["crypto"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("price2.csv", "did you mean prices.csv?"),
        ("Prices 2020.csv", "did you mean prices.csv?"),
        ("prices.xlsx", "save it as prices.csv"),
        ("prices.csv.gz", "save it as prices.csv"),
        ("crypto (1).csv", "not read, as crypto.csv is"),
        ("redenomination2.csv", "did you mean redenominations.csv?"),
    ],
)
def test_a_file_that_is_not_read_is_pointed_out_if_it_looks_meant(store: Store, drop: Path, name: str, words: str) -> None:
    (drop / name).write_text("a\n1\n")
    (drop / "notes.csv").write_text("a\n1\n")
    (line,) = fetched(store, drop, crypto=WHOLE["crypto"]).warnings
    assert line.startswith(f"{name}: not read")
    assert words in line


def test_a_folder_of_near_misses_says_which(store: Store, drop: Path) -> None:
    with pytest.raises(BadInput, match=r"holds none of the drop-in files .* price2.csv: not read, .* did you mean prices.csv\?"):
        fetched(store, drop, price2=WHOLE["prices"])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_columns_are_known_whatever_their_case_and_spaces(store: Store, drop: Path, kind: str) -> None:
    names = {"date": "Date", "ticker": " Ticker ", "adj_close": "Adj Close", "volume": "VOLUME"}
    frame = pd.DataFrame([["2020-05-29", "IWM", 2.0, 1.5, 7.0]], columns=["date", "ticker", "close", "adj_close", "volume"])
    write(frame.rename(columns=names), drop / f"prices.{kind}")
    report = fetched(store, drop)
    for panel, value in ((FUND_CLOSE, 2.0), (FUND_PRICE, 1.5), (FUND_VOLUME, 7.0)):
        assert store.read_panel(panel, FAR)["IWM"].tolist() == [value]
    assert f"prices.{kind}: column 'Adj Close' is read as 'adj_close'." in report.warnings
    assert len(report.warnings) >= 3


def write(frame: pd.DataFrame, file: Path) -> None:
    frame.to_csv(file, index=False) if file.suffix == ".csv" else frame.to_parquet(file, index=False)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("date,ticker,close,close,adj_close", "2 columns 'close'; keep one"),
        ("date,ticker,close,Close,adj_close", "2 columns 'close'; keep one"),
        (
            "date,ticker,close,adj_close,volumes",
            "a column 'volumes', which isn't read. Did you mean 'volume'",
        ),
        (
            "date,ticker,close,adj_close,derivd",
            "a column 'derivd', which isn't read. Did you mean 'derived'",
        ),
        ("date,ticker,closed,adj_close,other", "a column 'closed', which isn't read. Did you mean 'close'"),
    ],
)
def test_repeated_and_misspelt_columns_are_refused(store: Store, drop: Path, header: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        fetched(store, drop, prices=f"{header}\n2020-05-29,IWM,1,2,3\n")


def test_a_misspelt_flag_costs_the_file_and_never_passes_bad_ticks_as_good(store: Store, drop: Path) -> None:
    text = "date,asset,asset_class,price,bad_ticks\n2020-05-30,aave,coin,1,false\n2020-05-31,aave,coin,9,true\n"
    with pytest.raises(BadInput, match="Rename it to 'bad_tick'"):
        fetched(store, drop, crypto=text)


def test_repeated_columns_of_parquet_are_refused(store: Store, drop: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [pa.array(["2020-05-29"]), pa.array(["IWM"]), pa.array([1.0]), pa.array([2.0]), pa.array([1.5])]
    pq.write_table(pa.Table.from_arrays(cells, names=["date", "ticker", "close", "close", "adj_close"]), drop / "prices.parquet")
    with pytest.raises(BadInput, match="2 columns 'close'; keep one"):
        fetched(store, drop)


# Names


@pytest.mark.parametrize(
    ("written", "kept"), [("iwm", "IWM"), (" IWM ", "IWM"), ("dx-y.nyb", "DX-Y.NYB"), ("^rut", "^RUT"), ("Other", "Other")]
)
def test_tickers_that_are_read_are_known_in_any_case(store: Store, drop: Path, written: str, kept: str) -> None:
    report = fetched(store, drop, prices=WHOLE["prices"].replace("IWM", written))
    assert {name for name, _, _ in stored(store)} == {kept}
    said = [f"prices: column 'ticker' is read with {written!r} as {kept!r}."] if written != kept else []
    assert report.warnings == said


def test_other_names_are_known_in_any_case_too(store: Store, drop: Path) -> None:
    crypto = "date,asset,asset_class,price\n2020-05-31,BTC,BTC,9000\n2020-05-31,Ethereum,Coin,200\n2020-05-31,aave,coin,1\n"
    members = "ticker,from,to\nabc,2019-01-01,\n"
    report = fetched(
        store,
        drop,
        fred=WHOLE["fred"].replace("WALCL", "walcl"),
        crypto=crypto,
        constituents=WHOLE["constituents"],
        membership=members,
    )
    assert store.read(FED_ASSETS, FAR)["value"].tolist() == [7000000.5, 7100000.5]
    assert store.asset_classes("coin") == {"bitcoin": "btc", "ethereum": "coin", "aave": "coin"}
    assert store.read_panel(STOCK_PRICE, FAR)["ABC"].tolist() == [12.25, 12.75]
    assert "fred: column 'series' is read with 'walcl' as 'WALCL'." in report.warnings
    assert "crypto: column 'asset' is read with 'BTC' as 'bitcoin' and 1 more like it." in report.warnings


def test_two_spellings_of_one_name_on_one_day_are_the_same_row_twice(store: Store, drop: Path) -> None:
    with pytest.raises(BadInput, match="hold IWM, 2020-05-29 twice"):
        fetched(store, drop, prices=WHOLE["prices"] + "2020-05-29,iwm,1,1,1\n")


# Numbers


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("comma", [",", "."])
def test_other_delimiters_and_decimal_commas_are_read_and_said(store: Store, drop: Path, delimiter: str, comma: str) -> None:
    text = WHOLE["prices"].replace(",", delimiter).replace(".", comma)
    report = fetched(store, drop, prices=text)
    assert store.read_panel(FUND_CLOSE, FAR)["IWM"].tolist() == [162.5, 163.25]
    assert store.read_panel(FUND_VOLUME, FAR)["IWM"].tolist() == [1000.0, 1100.0]
    decimal = ", numbers as written with a decimal comma" if comma == "," else ""
    assert report.warnings == [f"prices.csv: cells are read as parted by {delimiter!r}{decimal}."]


@pytest.mark.parametrize("value", ["1,234", "1,234,567", "12,345"])
def test_a_comma_that_may_part_thousands_is_refused(store: Store, drop: Path, value: str) -> None:
    with pytest.raises(BadInput, match=rf"column 'value' holds '{value}', whose comma may stand for"):
        fetched(store, drop, fred=f"date;series;value\n2020-05-20;WALCL;{value}\n")


@pytest.mark.parametrize(
    "value", ["1.234,5", "1,234.5", "1 234", "1_234", "0x10", "12%", "$12", "1,5", "true", "--1", "twelve", "1e", "１２"]
)
@pytest.mark.parametrize("line", ['2020-05-20,WALCL,"{}"', "2020-05-20;WALCL;{}"])
def test_what_is_no_number_is_refused(store: Store, drop: Path, value: str, line: str) -> None:
    header = "date,series,value" if '"' in line else "date;series;value"
    if value == "1,5" and header == "date;series;value":
        pytest.skip("a decimal comma")
    with pytest.raises(BadInput, match=r"fred.csv: column 'value' holds"):
        fetched(store, drop, fred=f"{header}\n{line.format(value)}\n")
    assert store.market is None


@pytest.mark.parametrize("number", ["0.1", "1e-7", "123456789.123456789", "5e-324", "1.7976931348623157e308", "+2.5", " 3 ", "007"])
def test_a_number_is_read_to_its_last_bit(store: Store, drop: Path, number: str) -> None:
    fetched(store, drop, fred=f"date,series,value\n2020-05-20,WALCL,{number}\n")
    assert store.read(FED_ASSETS, FAR)["value"].tolist() == [float(number)]


@pytest.mark.parametrize(
    ("column", "cells", "words"),
    [
        ("close", [True, False], "'close' holds True in data row 1 and 1 more; it must be a number"),
        (
            "close",
            pd.to_datetime(["2020-05-28", "2020-05-29"]),
            "'close' holds 2020-05-28 in data row 1 and 1 more; it must be a number",
        ),
        ("close", [[1.0], [2.0]], "column 'close' holds lists or records"),
        ("ticker", [1.5, 1.5], "'ticker' holds 1.5"),
        ("ticker", [True, True], "'ticker' holds True"),
        ("date", [20200528, 20200529], "'date' holds 20200528 .* YYYY-MM-DD"),
        ("date", [2020.0, 2021.0], "'date' holds 2020.0 .* YYYY-MM-DD"),
    ],
)
def test_parquet_cells_of_another_type_are_refused(store: Store, drop: Path, column: str, cells: Any, words: str) -> None:
    good = {"date": ["2020-05-28", "2020-05-29"], "ticker": "IWM", "close": [1.0, 2.0], "adj_close": [1.0, 2.0]}
    pd.DataFrame(good | {column: cells}).to_parquet(drop / "prices.parquet")
    with pytest.raises(BadInput, match=words):
        fetched(store, drop)


# Days


@pytest.mark.parametrize(
    "day",
    [
        "2020",
        "2020-05",
        "20200529",
        "2020/05/29",
        "29.05.2020",
        "5/29/2020",
        "2020-5-29",
        "2020-05-29T",
        "2020-13-01",
        "1590710400",
        "Friday",
    ],
)
@pytest.mark.parametrize("stem", WHOLE)
def test_what_is_not_written_as_a_day_is_none(store: Store, drop: Path, stem: str, day: str) -> None:
    column = "from" if stem == "membership" else "date"
    last = WHOLE[stem].splitlines()[-1].split(",")
    row = ",".join([last[0], day, *last[2:]] if stem == "membership" else [day, *last[1:]])
    with pytest.raises(
        BadInput, match=rf"{stem}.csv: column '{column}' holds '{day}' in data row 3; it must be a day written YYYY-MM-DD"
    ):
        fetched(store, drop, **{stem: WHOLE[stem] + row + "\n"})


@pytest.mark.parametrize(
    ("moment", "day", "zones"),
    [
        ("2020-05-29T20:00:00Z", "2020-05-29", " with zones"),
        ("2020-05-29T20:00:00-05:00", "2020-05-30", " with zones"),
        ("2020-05-30T00:00:00+02:00", "2020-05-29", " with zones"),
        ("2020-05-29 20:00", "2020-05-29", ""),
    ],
)
def test_times_count_on_their_utc_day_and_that_is_said(store: Store, drop: Path, moment: str, day: str, zones: str) -> None:
    report = fetched(store, drop, stablecoins=f"date,total_usd_best\n{moment},5\n")
    assert [str(observed) for _, observed, _ in stored(store)] == [day]
    assert report.warnings == [
        f"stablecoins: column 'date' holds times{zones}: each counts on its UTC day, as {moment!r} on {day}."
    ]


def test_sessions_on_weekends_are_left_out_of_funds_and_shares_and_counted(store: Store, drop: Path) -> None:
    """As where a calendar was filled up; coins trade on."""
    days = pd.date_range("2020-05-04", "2020-05-31").strftime("%Y-%m-%d")
    prices = WHOLE["prices"].splitlines()[0] + "\n" + "".join(f"{day},IWM,1,1,1\n{day},BTC-USD,1,1,1\n" for day in days)
    stocks = WHOLE["constituents"].splitlines()[0] + "\n" + "".join(f"{day},ABC,1,1,false\n" for day in days)
    report = fetched(store, drop, prices=prices, constituents=stocks)
    assert [line.left_out for line in report.lines] == [{"weekend": 8}, {"weekend": 8}]
    assert [line.came for line in report.lines] == [2 * len(days), len(days)]
    assert not [name for name, day, _ in stored(store) if name != "BTC-USD" and day.weekday() >= 5]


@pytest.mark.parametrize("shift", [1, -1])
def test_days_shifted_by_one_are_refused(store: Store, drop: Path, shift: int) -> None:
    days = (pd.bdate_range("2020-04-06", "2020-05-28") + pd.Timedelta(days=shift)).strftime("%Y-%m-%d")
    prices = WHOLE["prices"].splitlines()[0] + "\n" + "".join(f"{day},IWM,1,1,1\n" for day in days)
    with pytest.raises(
        BadInput, match=r"prices.csv: column 'date' puts \d rows on a S.*day, more than on a .*; its days seem shifted by one"
    ):
        fetched(store, drop, prices=prices)


# Flags


@pytest.mark.parametrize(
    "cells", [[None, True], [np.nan, 1.0], pd.array([None, True], dtype="boolean"), ["", "true"], ["maybe", "no"], [2, 1]], ids=str
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_missing_or_odd_flag_is_refused(store: Store, drop: Path, cells: Any, kind: str) -> None:
    rows = {"date": ["2020-05-28", "2020-05-29"], "ticker": "ABC", "close": [1.0, 2.0], "delisted": cells}
    write(pd.DataFrame(rows), drop / f"constituents.{kind}")
    with pytest.raises(BadInput, match=r"column 'delisted' holds .* in data row 1; it must be true or false"):
        fetched(store, drop)


@pytest.mark.parametrize("cells", [[True, False], [1, 0], [1.0, 0.0], ["True", "FALSE"], ["yes", "no"], ["1", "0.0"]], ids=str)
def test_flags_in_any_usual_writing_are_known(store: Store, drop: Path, cells: Any) -> None:
    rows = {"date": "2020-05-29", "ticker": ["ABC", "DEF"], "close": 1.0, "delisted": cells}
    pd.DataFrame(rows).to_parquet(drop / "constituents.parquet")
    fetched(store, drop)
    assert store.asset_classes("stock") == {"ABC": "delisted", "DEF": "survivor"}


# One bad series costs that series


BAD_ROWS = {
    "prices": (
        "2020-05-29,KRE,-3,1,1",
        "KRE",
        r"column 'close' holds -3.0 in data row 4; it must be a finite number of at least 0",
    ),
    "fred": ("2020-05-27,RRPONTSYD,four", "RRPONTSYD", r"column 'value' holds 'four' in data row 4; it must be a number"),
    "crypto": ("2020-05-31,bnb,meme,1,2", "bnb", r"column 'asset_class' holds 'meme' in data row 4; it must be one of coin, btc"),
    "crypto_ohlcv": ("2020,BNB,1,1,1,1", "BNB", r"column 'date' holds '2020' in data row 4; it must be a day written YYYY-MM-DD"),
    "constituents": ("2020-05-29,XYZ,1,1,", "XYZ", r"column 'delisted' holds nothing in data row 4; it must be true or false"),
    "membership": ("XYZ,2020-03-01,2020-02-01", "XYZ", r"XYZ leaves before it joins \(2020-03-01\)"),
}


@pytest.mark.parametrize("stem", BAD_ROWS)
def test_a_bad_cell_costs_its_series_alone_and_is_told(store: Store, drop: Path, stem: str) -> None:
    bad, name, words = BAD_ROWS[stem]
    good = WHOLE[stem].splitlines()[1].replace(*{"membership": ("ABC", "XYZ")}.get(stem, ("", "")))
    first = bad.split(",")[0] if stem == "membership" else bad.split(",")[1]
    sound = ",".join([first, *good.split(",")[1:]] if stem == "membership" else [good.split(",")[0], first, *good.split(",")[2:]])
    report = fetched(store, drop, **{stem: f"{WHOLE[stem]}{sound}\n{bad}\n"})
    line = report.lines[0]
    assert (line.came, line.received, line.left_out) == (4, 2, {"bad cell in the series": 2})
    (told,) = [told for told in report.warnings if "bad" in told or name in told]
    assert told.startswith(f"{stem}: ")
    assert pd.Series([told]).str.contains(words).all(), told
    assert told.endswith(f"All 2 rows of {name} were left out, nothing else: correct it and fetch again.")
    assert not [one for one, _, _ in stored(store) if name in one]


def test_two_rows_of_one_day_cost_their_series_alone(store: Store, drop: Path) -> None:
    rows = WHOLE["crypto"] + "2020-05-31,bnb,coin,1,1\n2020-05-31,bnb,coin,2,1\n"
    report = fetched(store, drop, crypto=rows)
    assert store.read_panel(COIN_PRICE, FAR).columns.tolist() == ["aave"]
    assert "columns ['asset', 'date'] hold bnb, 2020-05-31 twice (data row 4)" in report.warnings[0]


def test_where_most_series_are_bad_the_file_is(store: Store, drop: Path) -> None:
    rows = WHOLE["crypto"] + "2020-05-31,bnb,coin,-1,1\n2020-05-31,sol,coin,-2,1\n"
    with pytest.raises(BadInput, match=r"crypto.csv: column 'price' holds -1.0 in data row 3 and 1 more"):
        fetched(store, drop, crypto=rows)
    assert store.market is None


def test_many_bad_series_are_told_in_few_lines(store: Store, drop: Path) -> None:
    good = "".join(f"2020-05-31,good{number},coin,1,1\n" for number in range(40))
    bad = "".join(f"2020-05-31,bad{number},coin,-1,1\n" for number in range(20))
    report = fetched(store, drop, crypto=WHOLE["crypto"] + good + bad)
    assert len(report.warnings) == 6
    assert report.warnings[-1].startswith("crypto: 15 more series have such cells and were left out, among them bad")


# As many rows come as are kept and left out


def test_every_row_is_kept_or_left_out_by_reason(store: Store, drop: Path) -> None:
    crypto = (
        WHOLE["crypto"]
        .replace("market_cap", "market_cap,bad_tick")
        .replace(",1000\n", ",1000,true\n")
        .replace(",1100\n", ",1100,false\n")
    )
    fred = WHOLE["fred"] + "2020-05-27,OTHER,1\n2020-05-28,RRPONTSYD,\n"
    stocks = WHOLE["constituents"] + "2020-05-29,ABC,13,600,true\n2020-05-29,DEF,,,false\n2020-05-30,DEF,1,1,false\n"
    files = {"fred": fred, "crypto": crypto, "constituents": stocks, "stablecoins": today_too("stablecoins")}
    report = fetched(store, drop, **files)
    assert {line.label: line.left_out for line in report.lines} == {
        "fred": {"undeclared series": 1, "missing": 1},
        "crypto": {"bad tick": 1},
        "constituents": {"weekend": 1, "in both groups on one day": 1, "empty row": 1},
        "stablecoins": {"running day": 1},
    }
    for line in report.lines:
        assert line.came == len(files[line.label].splitlines()) - 1 == line.received + sum(line.left_out.values())


def test_the_command_says_how_many_rows_came_and_were_left_out(altrally: Any, drop: Path, tmp_path: Path) -> None:
    (drop / "fred.csv").write_text(WHOLE["fred"] + "2020-05-27,OTHER,1\n")
    said = altrally("--home", tmp_path / "home", "fetch", "--provider", "files", "--path", drop).out
    header, row = (line.split() for line in said.splitlines()[:2])
    assert header == ["rows", "left", "out", "kept", "new", "made", "missing"]
    assert row == ["fred", "3", "1", "undeclared", "series", "2", "2", "none"]
