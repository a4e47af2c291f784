"""What a drop-in file and a batch must look like before anything of them is stored."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from sources.batches import BAR_FIELDS, Batch
from sources.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from pandera.pandas import Check, DataFrameSchema

ASSET_CLASSES = ("coin", "btc", "stablecoin", "wrapped_staked", "tokenised_asset")
DAY = "datetime64[us]"
FIRST_DAY = pd.Timestamp("1900-01-01")
ADVICE = "Nothing of it was stored: correct it and fetch again."
LONGEST_NAME = 64
TRUTH = dict.fromkeys(("true", "t", "yes", "1", "1.0"), True) | dict.fromkeys(("false", "f", "no", "0", "0.0"), False)


@dataclass(frozen=True)
class Column:
    """One column of a drop-in file. A number or the end of something may be missing; a day, a name or a flag may not."""

    kind: Literal["day", "end", "name", "number", "flag"]
    required: bool = True
    low: float = -np.inf
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """One drop-in file: its columns, and those that together name a row."""

    key: tuple[str, ...]
    columns: Mapping[str, Column]


A_NAME = f"a name of at most {LONGEST_NAME} printable characters"
DATE, NAME, NUMBER = Column("day"), Column("name"), Column("number")
POSITIVE = Column("number", low=0)
PERHAPS, FLAG = Column("number", required=False, low=0), Column("flag", required=False)

SHEETS: dict[str, Sheet] = {
    "prices": Sheet(
        ("ticker", "date"),
        {"date": DATE, "ticker": NAME, "close": POSITIVE, "adj_close": POSITIVE}
        | {"open": PERHAPS, "high": PERHAPS, "low": PERHAPS, "volume": PERHAPS, "derived": FLAG},
    ),
    "fred": Sheet(("series", "date"), {"date": DATE, "series": NAME, "value": NUMBER}),
    "crypto": Sheet(
        ("asset", "date"),
        {"date": DATE, "asset": NAME, "asset_class": Column("name", allowed=ASSET_CLASSES), "price": POSITIVE}
        | {"market_cap": PERHAPS, "volume": PERHAPS, "mcap_suspect": FLAG, "bad_tick": FLAG},
    ),
    "crypto_ohlcv": Sheet(
        ("symbol", "date"),
        {"date": DATE, "symbol": NAME, "open": POSITIVE, "high": POSITIVE, "low": POSITIVE, "close": POSITIVE}
        | {"volume": PERHAPS, "ohlc_ok": FLAG},
    ),
    "constituents": Sheet(
        ("ticker", "date", "delisted"),
        {"date": DATE, "ticker": NAME, "close": NUMBER, "volume": PERHAPS, "delisted": FLAG},
    ),
    "membership": Sheet(("ticker", "from"), {"ticker": NAME, "from": DATE, "to": Column("end")}),
    "stablecoins": Sheet(("date",), {"date": DATE, "total_usd_best": POSITIVE}),
}


def checked(stem: str, frame: pd.DataFrame, *, name: str | None = None, latest: pd.Timestamp | None = None) -> pd.DataFrame:
    """The declared columns of one drop-in file, typed: midnight UTC days, numbers, flags, names.

    `name` is what errors call the file, `latest` the last day it may hold. Raises `BadInput` naming file, column, value.
    """
    sheet = SHEETS.get(stem)
    if sheet is None:
        raise UnknownName("drop-in file", stem, SHEETS)
    name, frame = name or stem, frame.reset_index(drop=True)
    if frame.empty:
        raise BadInput(f"{name} has no rows. Fill it or take it away, then fetch again.")
    typed = {
        column: READERS[declared.kind](frame[column], f"{name}: column {column!r}")
        for column, declared in sheet.columns.items()
        if column in frame
    }
    conforming = _judged(_sheet_schema(sheet, latest), pd.DataFrame(typed, copy=False), name)
    _refuse_duplicates(conforming, sheet.key, name)
    return conforming


def check_batch(batch: Batch) -> None:
    """Raise `BadInput` unless every row of `batch` can be stored: midnight days, known no sooner than observed, possible values."""
    frame = batch.frame.reset_index(drop=True)
    _judged(_batch_schema(batch.table, frame), frame, batch.label)


def _days(values: pd.Series, where: str) -> pd.Series:
    rule = "a day written YYYY-MM-DD"
    if pd.api.types.is_numeric_dtype(values):
        raise _refusal(where, values, np.ones(len(values), dtype=bool), rule)
    written = values
    if not pd.api.types.is_datetime64_any_dtype(values):
        values = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
    _refuse(where, written, values.isna().to_numpy(), rule)
    if values.dt.tz is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    return values.dt.normalize().astype(DAY)


def _ends(values: pd.Series, where: str) -> pd.Series:
    """As days; nothing where it hasn't ended."""
    blank = values.isna() | (values.astype("str").str.strip() == "")
    ends = pd.Series(pd.NaT, values.index, dtype=DAY)
    if not blank.all():
        ends[~blank] = _days(values[~blank], where)
    return ends


def _names(values: pd.Series, where: str) -> pd.Series:
    _refuse(where, values, (values.isna() | (values == "")).to_numpy(), "a name")
    strange = [name for name in values.unique() if not is_name(str(name))]
    if strange:
        _refuse(where, values.astype("str").map(ascii), values.isin(strange).to_numpy(), A_NAME)
    return values if isinstance(values.dtype, pd.CategoricalDtype) else values.astype("str")


def is_name(name: str) -> bool:
    """Whether a name can be shown anywhere: no control or direction sign, no line break, not too long."""
    return name.isprintable() and len(name) <= LONGEST_NAME


def _numbers(values: pd.Series, where: str) -> pd.Series:
    if pd.api.types.is_float_dtype(values):
        return values
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    written = values.notna() & (values.astype("str").str.strip() != "")
    _refuse(where, values, (numbers.isna() & written).to_numpy(), "a number")
    return numbers


def _flags(values: pd.Series, where: str) -> pd.Series:
    if pd.api.types.is_bool_dtype(values):
        return values
    flags = values.astype("str").str.strip().str.lower().map(TRUTH)
    _refuse(where, values, flags.isna().to_numpy(), "true or false")
    return flags.astype(bool)


READERS: dict[str, Callable[[pd.Series, str], pd.Series]] = {
    "day": _days,
    "end": _ends,
    "name": _names,
    "number": _numbers,
    "flag": _flags,
}


def _refuse(where: str, values: pd.Series, bad: np.ndarray, rule: str) -> None:
    if bad.any():
        raise _refusal(where, values, bad, rule)


def _refusal(where: str, values: pd.Series, bad: np.ndarray, rule: str) -> BadInput:
    rows = np.flatnonzero(bad)
    value = values.iloc[rows[0]]
    shown = "nothing" if pd.isna(value) or value == "" else repr(value.item() if isinstance(value, np.generic) else value)
    if isinstance(value, pd.Timestamp):
        shown = f"{value:%Y-%m-%d}" if value == value.normalize() else str(value)
    more = f" and {rows.size - 1} more" if rows.size > 1 else ""
    return BadInput(f"{where} holds {shown} in data row {rows[0] + 1}{more}; it must be {rule}. {ADVICE}")


def _refuse_duplicates(frame: pd.DataFrame, key: tuple[str, ...], name: str) -> None:
    """Rows in order of their key, as most files are, are judged without hashing them."""
    present = [column for column in key if column in frame]
    if _in_order(frame, present):
        return
    twice = np.flatnonzero(frame.duplicated(present).to_numpy())
    if twice.size:
        row = frame.iloc[twice[0]]
        what = ", ".join(f"{value:%Y-%m-%d}" if isinstance(value, pd.Timestamp) else str(value) for value in row[present])
        more = f" and {twice.size - 1} more" if twice.size > 1 else ""
        raise BadInput(f"{name}: columns {present} hold {what} twice (data row {twice[0] + 1}{more}); keep one. {ADVICE}")


def _in_order(frame: pd.DataFrame, key: list[str]) -> bool:
    """Whether names never return once left and days only grow within a name."""
    name, day = key[0], next(column for column in key if column in ("date", "from"))
    days = frame[day].to_numpy().astype("int64")
    if name == day:
        return bool((np.diff(days) > 0).all())
    codes = frame[name].cat.codes.to_numpy() if isinstance(frame[name].dtype, pd.CategoricalDtype) else pd.factorize(frame[name])[0]
    step = np.diff(codes.astype("int64"))
    return bool(((step > 0) | ((step == 0) & (np.diff(days) > 0))).all())


def _judged(schema: "DataFrameSchema", frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """`frame` if pandera accepts it; else its first finding as `BadInput`."""
    from pandera.errors import SchemaError, SchemaErrorReason

    try:
        return schema.validate(frame)
    except SchemaError as error:
        if error.reason_code is SchemaErrorReason.COLUMN_NOT_IN_DATAFRAME:
            needed = ", ".join(column for column, declared in schema.columns.items() if declared.required)
            raise BadInput(f"{name} has no column {error.failure_cases!r}; it needs {needed}. {ADVICE}") from error
        column, rule = error.schema.name, getattr(error.check, "error", None) or "present"
        bad = np.zeros(len(frame), dtype=bool)
        bad[frame.index.get_indexer(error.failure_cases["index"].unique())] = True
        raise _refusal(f"{name}: column {column!r}", frame[column], bad, rule) from error


def _sheet_schema(sheet: Sheet, latest: pd.Timestamp | None) -> "DataFrameSchema":
    import pandera.pandas as pa

    return pa.DataFrameSchema(
        {
            name: pa.Column(required=column.required, nullable=True, checks=_checks(column, latest))
            for name, column in sheet.columns.items()
        }
    )


def _checks(column: Column, latest: pd.Timestamp | None) -> "list[Check]":
    import pandera.pandas as pa

    if column.kind in ("day", "end"):
        last = latest or pd.Timestamp("2200-01-01")
        return [pa.Check.in_range(FIRST_DAY, last, error=f"a day from {FIRST_DAY:%Y-%m-%d} to {last:%Y-%m-%d}")]
    if column.kind == "number":
        least = "" if column.low == -np.inf else f" of at least {column.low:g}"
        return [pa.Check(lambda values: np.isfinite(values) & (values >= column.low), error=f"a finite number{least}")]
    return [pa.Check.isin(column.allowed, error=f"one of {', '.join(column.allowed)}")] if column.allowed else []


def _batch_schema(table: str, frame: pd.DataFrame) -> "DataFrameSchema":
    import pandera.pandas as pa

    known = frame.get("known")
    midnight = pa.Check(lambda days: days == days.dt.normalize(), error="midnight UTC")
    days = {
        "observed": pa.Column(checks=[midnight, pa.Check(lambda days: days <= known, error="no later than the day it was known")]),
        "known": pa.Column(checks=midnight),
    }
    named = pa.Column(checks=pa.Check(lambda names: names.isin([one for one in names.unique() if is_name(str(one))]), error=A_NAME))
    if table == "observations":
        value = pa.Column(checks=pa.Check(np.isfinite, error="a finite number"))
        return pa.DataFrameSchema({"series": named, **days, "value": value})
    positive = pa.Check(lambda values: (values > 0) & np.isfinite(values), error="a finite number above 0, or missing")
    values = {field: pa.Column(checks=positive, nullable=True, required=False) for field in BAR_FIELDS}
    return pa.DataFrameSchema({"symbol": named, **days, **values})
