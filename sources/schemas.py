"""What a drop-in file and a batch must look like before anything of them is stored."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from core.arrays import Bools
from core.errors import BadInput, UnknownName
from sources.batches import BAR_FIELDS, Batch
from sources.membership import impossible_stays
from sources.series import SERIES, SMALL_CAP_FUNDS

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

ASSET_CLASSES = ("coin", "btc", "stablecoin", "wrapped_staked", "tokenised_asset")
DAY = "datetime64[us]"
FIRST_DAY, LAST_DAY = pd.Timestamp("1900-01-01"), pd.Timestamp("2200-01-01")
ADVICE = "Nothing of it was stored: correct it and fetch again."
LONGEST_NAME, LONGEST_SHOWN = 64, 100
LISTED = 5
TRUTH = dict.fromkeys(("true", "t", "yes", "1", "1.0"), True) | dict.fromkeys(("false", "f", "no", "0", "0.0"), False)
BLANKS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", ".")
A_DAY = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
A_ZONE = r":\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)$"
A_NAME = f"a name of at most {LONGEST_NAME} printable characters"
BAD_CELLS = "bad cell in the series"

Places = npt.NDArray[np.intp]


def spelt_as(known: Iterable[str], **others: str) -> Callable[[str], str]:
    """A function that gives a name as one of `known` spells it, whatever its case; `others` are further names of known ones."""
    spellings = {name.casefold(): name for name in known} | others
    return lambda name: spellings.get(name.casefold(), name)


def as_it_is(name: str) -> str:
    """The name itself."""
    return name


@dataclass(frozen=True)
class Column:
    """One column of a drop-in file. A number or the end of something may be missing; a day, a name or a flag may not.

    `low` is the least number. `allowed` are the only names, all if empty. `spelling` gives a name as this project spells it.
    """

    kind: Literal["day", "end", "name", "number", "flag"]
    required: bool = True
    low: float = -np.inf
    allowed: tuple[str, ...] = ()
    spelling: Callable[[str], str] = as_it_is


@dataclass(frozen=True)
class Sheet:
    """One drop-in file: its columns, and those that together name a row. The first of these is the series, unless it is the day."""

    key: tuple[str, ...]
    columns: Mapping[str, Column]


READ_TICKERS = {series.code for series in SERIES.values() if series.provider == "yahoo"} | set(SMALL_CAP_FUNDS)
READ_SERIES = {series.code for series in SERIES.values() if series.provider == "fred"}
ASSET = spelt_as(
    ("bitcoin", "ethereum"),
    **dict.fromkeys(("btc", "xbt", "btc-usd", "btcusd", "btcusdt", "btc/usd"), "bitcoin"),
    **dict.fromkeys(("eth", "ether", "eth-usd", "ethusd", "ethusdt", "eth/usd"), "ethereum"),
)
TICKER = spelt_as(
    READ_TICKERS,
    **dict.fromkeys(("rut", ".rut", "rut.indx", "russell2000"), "^RUT"),
    **dict.fromkeys(("vix", ".vix", "vix.indx"), "^VIX"),
    **dict.fromkeys(("dxy", "dx-y", "dx-y.nyb"), "DX-Y.NYB"),
)
DATE, NAME, NUMBER = Column("day"), Column("name"), Column("number")
STOCK = Column("name", spelling=str.upper)
POSITIVE = Column("number", low=0)
PERHAPS, FLAG = Column("number", required=False, low=0), Column("flag", required=False)

SHEETS: dict[str, Sheet] = {
    "prices": Sheet(
        ("ticker", "date"),
        {"date": DATE, "ticker": Column("name", spelling=TICKER), "close": POSITIVE, "adj_close": POSITIVE}
        | {"open": PERHAPS, "high": PERHAPS, "low": PERHAPS, "volume": PERHAPS, "derived": FLAG},
    ),
    "fred": Sheet(("series", "date"), {"date": DATE, "series": Column("name", spelling=spelt_as(READ_SERIES)), "value": NUMBER}),
    "crypto": Sheet(
        ("asset", "date"),
        {"date": DATE, "asset": Column("name", spelling=ASSET)}
        | {"asset_class": Column("name", allowed=ASSET_CLASSES, spelling=spelt_as(ASSET_CLASSES)), "price": POSITIVE}
        | {"market_cap": PERHAPS, "volume": PERHAPS, "mcap_suspect": FLAG, "bad_tick": FLAG},
    ),
    "crypto_ohlcv": Sheet(
        ("symbol", "date"),
        {"date": DATE, "symbol": NAME, "open": POSITIVE, "high": POSITIVE, "low": POSITIVE, "close": POSITIVE}
        | {"volume": PERHAPS, "ohlc_ok": FLAG},
    ),
    "constituents": Sheet(
        ("ticker", "date", "delisted"),
        {"date": DATE, "ticker": STOCK, "close": NUMBER, "volume": PERHAPS, "delisted": FLAG},
    ),
    "membership": Sheet(("ticker", "from"), {"ticker": STOCK, "from": DATE, "to": Column("end")}),
    "stablecoins": Sheet(("date",), {"date": DATE, "total_usd_best": POSITIVE}),
    "redenominations": Sheet(("asset", "date"), {"date": DATE, "asset": NAME, "ratio": POSITIVE}),
}


class Checked(NamedTuple):
    """The declared columns of a drop-in file, typed; counts of rows left out, by reason; and what the user should know."""

    frame: pd.DataFrame
    left_out: dict[str, int]
    notes: list[str]


class Fault(NamedTuple):
    """Rows that can't be, and words about some of them: given their numbers, which value stands where and what it must be."""

    bad: Bools
    words: Callable[[Places], str]


class Reading(NamedTuple):
    """A column of typed cells, the rows that can't be read, what they must be, and what the user should know about the others."""

    cells: pd.Series
    bad: Bools
    rule: str
    note: str = ""


def checked(stem: str, frame: pd.DataFrame, *, name: str | None = None, latest: pd.Timestamp | None = None) -> Checked:
    """The declared columns of one drop-in file: midnight UTC days, numbers, flags, names.

    `name` is what errors call the file, `latest` the last day it may hold. A cell that can't be costs its series; where that
    is more than half of all series, or no series can be told, the file. Raises `BadInput` naming file, column, row and value.
    """
    sheet = SHEETS.get(stem)
    if sheet is None:
        raise UnknownName("drop-in file", stem, SHEETS)
    name, frame = name or stem, frame.reset_index(drop=True)
    if frame.empty:
        raise BadInput(f"{name} has no rows. Fill it or take it away, then fetch again.")
    needed = [column for column, declared in sheet.columns.items() if declared.required]
    absent = next((column for column in needed if column not in frame), None)
    if absent is not None:
        raise BadInput(f"{name} has no column {absent!r}; it needs {', '.join(needed)}. {ADVICE}")
    faults, notes, typed = list[Fault](), list[str](), dict[str, pd.Series]()
    for column, declared in sheet.columns.items():
        if column in frame:
            reading = READERS[declared.kind](frame[column], declared)
            typed[column] = reading.cells
            faults += [_fault(column, frame[column], reading.bad, reading.rule), _impossible(column, declared, reading, latest)]
            notes += [f"column {column!r} {reading.note}"] if reading.note else []
    rows = pd.DataFrame(typed, copy=False)
    faults += [_repeated(sheet, rows), *([Fault(*impossible_stays(rows))] if stem == "membership" else [])]
    return _without_bad_series(sheet, rows, faults, name, notes)


def _fault(column: str, cells: pd.Series, bad: Bools, rule: str) -> Fault:
    return Fault(bad, lambda rows: f"column {column!r} {_holds(cells, rows)}; it must be {rule}")


def _impossible(column: str, declared: Column, reading: Reading, latest: pd.Timestamp | None) -> Fault:
    """Cells that could be read and can't be true."""
    cells, rule = reading.cells, ""
    bad = np.zeros(len(cells), dtype=bool)
    if declared.kind in ("day", "end"):
        last = latest or LAST_DAY
        bad = ((cells < FIRST_DAY) | (cells > last)).to_numpy()
        rule = f"a day from {FIRST_DAY:%Y-%m-%d} to {last:%Y-%m-%d}"
    elif declared.kind == "number":
        numbers = cells.to_numpy()
        bad = ~((numbers >= declared.low) & np.isfinite(numbers)) & ~np.isnan(numbers)
        rule = "a finite number" + ("" if declared.low == -np.inf else f" of at least {declared.low:g}")
    elif declared.allowed:
        bad = ~cells.isin(declared.allowed).to_numpy()
        rule = f"one of {', '.join(declared.allowed)}"
    return _fault(column, cells, bad & ~reading.bad, rule)


def _repeated(sheet: Sheet, frame: pd.DataFrame) -> Fault:
    """Rows whose key came before. Rows in order of their key, as most files are, are judged without hashing them."""
    key = [column for column in sheet.key if column in frame]
    bad = np.zeros(len(frame), dtype=bool) if _in_order(frame, key) else frame.duplicated(key).to_numpy()

    def words(rows: Places) -> str:
        row = frame.iloc[rows[0]]
        what = ", ".join(f"{value:%Y-%m-%d}" if isinstance(value, pd.Timestamp) else str(value) for value in row[key])
        return f"columns {key} hold {what} twice (data row {rows[0] + 1}{_more(rows)}); keep one"

    return Fault(bad, words)


def _without_bad_series(sheet: Sheet, rows: pd.DataFrame, faults: list[Fault], name: str, notes: list[str]) -> Checked:
    """`rows` without the series that have a fault. Raises `BadInput` where that would be most of them."""
    present = [fault for fault in faults if fault.bad.any()]
    if not present:
        return Checked(rows, {}, notes)
    bad = np.logical_or.reduce([fault.bad for fault in present])
    series = rows[sheet.key[0]]
    codes = np.zeros(len(rows), dtype=np.intp) if sheet.key[0] == "date" else series.cat.codes.to_numpy().astype(np.intp)
    lost = np.unique(codes[bad])
    if 2 * lost.size > np.unique(codes).size or lost[0] < 0:
        raise BadInput(f"{name}: {present[0].words(np.flatnonzero(present[0].bad))}. {ADVICE}")
    names = [text if is_name(text) else ascii(text)[:LONGEST_NAME] for text in map(str, series.cat.categories)]
    for code in lost[:LISTED]:
        mine = codes == code
        first = next(fault for fault in present if (fault.bad & mine).any())
        words = first.words(np.flatnonzero(first.bad & mine))
        notes.append(f"{words}. All {mine.sum()} rows of {names[code]} were left out, nothing else: correct it and fetch again.")
    if lost.size > LISTED:
        others = ", ".join(names[code] for code in lost[LISTED : 2 * LISTED])
        notes.append(f"{lost.size - LISTED} more series have such cells and were left out, among them {others}.")
    is_sound = ~np.isin(codes, lost)
    return Checked(rows[is_sound].reset_index(drop=True), {BAD_CELLS: int((~is_sound).sum())}, notes)


def check_batch(batch: Batch) -> None:
    """Raise `BadInput` unless every row of `batch` can be stored: midnight days, known no sooner than observed, possible values."""
    frame = batch.frame.reset_index(drop=True)
    _judged(_batch_schema(batch.table, frame), frame, batch.label)


def _different(column: pd.Series) -> tuple[Places, pd.Series]:
    """The number of each row's cell among the different ones, -1 where it is missing; and the different ones."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy().astype(np.intp), pd.Series(column.cat.categories)
    codes, cells = pd.factorize(column)
    return codes.astype(np.intp), pd.Series(cells)


def _taken(cells: Bools, codes: Places, *, missing: bool) -> Bools:
    """What is true of each row's cell; `missing` where there is none."""
    return np.append(cells, missing)[codes]


def _days(column: pd.Series, _: Column) -> Reading:
    """Moments with a zone count on their UTC day; a year or a month alone is no day."""
    rule = "a day written YYYY-MM-DD"
    if pd.api.types.is_datetime64_any_dtype(column):
        zoned = column.dt.tz is not None
        moments = column.dt.tz_convert("UTC").dt.tz_localize(None) if zoned else column
        days = moments.dt.normalize().astype(DAY)
        return Reading(days, days.isna().to_numpy(), rule, _day_note(column, (moments != days) & days.notna(), zoned=zoned))
    if pd.api.types.is_numeric_dtype(column):
        return Reading(pd.Series(pd.NaT, column.index, dtype=DAY), np.ones(len(column), dtype=bool), rule)
    codes, cells = _different(column)
    texts = pd.Series([str(cell).strip() for cell in cells], dtype="str")
    formed = texts.str.fullmatch(A_DAY).to_numpy(dtype=bool)
    moments = pd.to_datetime(texts.where(formed), errors="coerce", utc=True, format="ISO8601").dt.tz_localize(None)
    days = moments.dt.normalize().dt.as_unit("us")
    zoned_cells = formed & texts.str.contains(A_ZONE, regex=True).to_numpy(dtype=bool)
    note = _day_note(texts, ((moments != days) | zoned_cells) & days.notna(), zoned=bool(zoned_cells.any()))
    parsed = np.append(days.to_numpy(), np.datetime64("NaT"))[codes]
    return Reading(pd.Series(parsed, column.index), np.isnat(parsed), rule, note)


def _day_note(written: pd.Series, moments: pd.Series, *, zoned: bool) -> str:
    if not moments.any():
        return ""
    moment = written[moments].iloc[0]
    day = pd.Timestamp(moment)
    utc = day if day.tz is None else day.tz_convert("UTC")
    return f"holds times{' with zones' if zoned else ''}: each counts on its UTC day, as {str(moment)!r} on {utc:%Y-%m-%d}."


def _ends(column: pd.Series, declared: Column) -> Reading:
    """As days; nothing where it hasn't ended."""
    blank = (column.isna() | (column.astype("str").str.strip() == "")).to_numpy()
    if blank.all():
        return Reading(pd.Series(pd.NaT, column.index, dtype=DAY), ~blank, "")
    reading = _days(column, declared)
    return reading._replace(bad=reading.bad & ~blank)


def _names(column: pd.Series, declared: Column) -> Reading:
    """As categories, without spaces around them and spelt as this project spells them."""
    codes, cells = _different(column)
    textual = np.array([isinstance(cell, str) or pd.api.types.is_integer(cell) for cell in cells], dtype=bool)
    written = [str(cell) for cell in cells]
    spelt = [declared.spelling(name.strip()) for name in written]
    bad = ~textual | np.array([not is_name(name) for name in spelt], dtype=bool)
    places, names = pd.factorize(np.array(spelt, dtype=object))
    places[np.array([not name for name in spelt], dtype=bool)] = -1
    changed = [f"{old!r} as {new!r}" for old, new in zip(written, spelt, strict=True) if old != new]
    more = f" and {len(changed) - 1} more like it" if len(changed) > 1 else ""
    rows = pd.Categorical.from_codes(np.append(places, -1)[codes], pd.Index(names, dtype="str"))
    note = f"is read with {changed[0]}{more}." if changed else ""
    return Reading(pd.Series(rows, column.index), _taken(bad, codes, missing=True) | (rows.codes < 0), A_NAME, note)


def is_name(name: str) -> bool:
    """Whether a name can be shown anywhere: no control or direction sign, no line break, not too long."""
    return name.isprintable() and len(name) <= LONGEST_NAME


def _numbers(column: pd.Series, _: Column) -> Reading:
    """A truth value or a moment is no number, whatever it could be turned into."""
    rule, bad = "a number", np.zeros(len(column), dtype=bool)
    if pd.api.types.is_float_dtype(column) and isinstance(column.dtype, np.dtype):
        return Reading(column, bad, rule)
    if pd.api.types.is_bool_dtype(column) or column.dtype.kind in "mM":
        return Reading(pd.Series(np.nan, column.index), ~bad, rule)
    if pd.api.types.is_numeric_dtype(column):
        return Reading(pd.Series(column.to_numpy(np.float64, na_value=np.nan), column.index), bad, rule)
    numbers = pd.to_numeric(column.astype("str"), errors="coerce").astype("float64")
    missing = numbers.isna().to_numpy()
    blank = column[missing].isna() | column[missing].astype("str").str.strip().isin(BLANKS)
    bad[missing] = ~blank
    return Reading(numbers, bad, rule)


def _flags(column: pd.Series, _: Column) -> Reading:
    """A missing flag is neither true nor false."""
    rule = "true or false"
    if column.dtype == np.dtype(bool):
        return Reading(column, np.zeros(len(column), dtype=bool), rule)
    codes, cells = _different(column)
    flags = [TRUTH.get(str(cell).strip().lower()) for cell in cells]
    true, unknown = np.array([flag is True for flag in flags], dtype=bool), np.array([flag is None for flag in flags], dtype=bool)
    return Reading(pd.Series(_taken(true, codes, missing=False), column.index), _taken(unknown, codes, missing=True), rule)


READERS: dict[str, Callable[[pd.Series, Column], Reading]] = {
    "day": _days,
    "end": _ends,
    "name": _names,
    "number": _numbers,
    "flag": _flags,
}


def _holds(cells: pd.Series, rows: Places) -> str:
    """What stands in the first of some rows, as an error tells it."""
    cell = cells.iloc[rows[0]]
    shown = "nothing" if pd.isna(cell) or cell == "" else repr(cell.item() if isinstance(cell, np.generic) else cell)
    if isinstance(cell, pd.Timestamp):
        shown = f"{cell:%Y-%m-%d}" if cell == cell.normalize() else str(cell)
    shown = shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}…"
    return f"holds {shown} in data row {rows[0] + 1}{_more(rows)}"


def _more(rows: Places) -> str:
    return f" and {rows.size - 1} more" if rows.size > 1 else ""


def _in_order(frame: pd.DataFrame, key: list[str]) -> bool:
    """Whether names never return once left and days only grow within a name."""
    name, day = key[0], next(column for column in key if column in ("date", "from"))
    days = frame[day].to_numpy().astype("int64")
    if name == day:
        return bool((np.diff(days) > 0).all())
    step = np.diff(frame[name].cat.codes.to_numpy().astype("int64"))
    return bool(((step > 0) | ((step == 0) & (np.diff(days) > 0))).all())


def _judged(schema: "DataFrameSchema", frame: pd.DataFrame, name: str) -> None:
    """Raise the first thing pandera finds as `BadInput`."""
    from pandera.errors import SchemaError, SchemaErrorReason

    try:
        schema.validate(frame)
    except SchemaError as error:
        if error.reason_code is SchemaErrorReason.COLUMN_NOT_IN_DATAFRAME:
            needed = ", ".join(column for column, declared in schema.columns.items() if declared.required)
            raise BadInput(f"{name} has no column {error.failure_cases!r}; it needs {needed}. {ADVICE}") from error
        column, rule = error.schema.name, getattr(error.check, "error", None) or "present"
        rows = np.sort(frame.index.get_indexer(error.failure_cases["index"].unique()))
        raise BadInput(f"{name}: column {column!r} {_holds(frame[column], rows)}; it must be {rule}. {ADVICE}") from error


def _batch_schema(table: str, frame: pd.DataFrame) -> "DataFrameSchema":
    import pandera.pandas as pa

    known = frame.get("known")
    midnight = pa.Check(lambda days: days == days.dt.normalize(), error="midnight UTC")
    days = {
        "observed": pa.Column(checks=[midnight, pa.Check(lambda days: days <= known, error="no later than the day it was known")]),
        "known": pa.Column(checks=midnight),
    }
    named = pa.Column(
        checks=pa.Check(lambda names: names.isin([name for name in names.unique() if is_name(str(name))]), error=A_NAME)
    )
    if table == "observations":
        value = pa.Column(checks=pa.Check(np.isfinite, error="a finite number"))
        return pa.DataFrameSchema({"series": named, **days, "value": value})
    positive = pa.Check(lambda values: (values > 0) & np.isfinite(values), error="a finite number above 0, or missing")
    values = {field: pa.Column(checks=positive, nullable=True, required=False) for field in BAR_FIELDS}
    return pa.DataFrameSchema({"symbol": named, **days, **values})
