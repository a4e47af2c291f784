"""Tables as somebody wrote them, text or Parquet: what can be understood is read and said, what can't be told is refused."""

import csv
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from core.errors import BadInput
from sources.schemas import Column

DELIMITERS = (",", ";", "\t", "|")
LINE_ENDS = (b"\n", b"\r")
THOUSANDS = r"[-+]?[1-9]\d{0,2}(?:,\d{3})+"
CLOSE_TO = 0.8
SYNONYMS = {
    "date": ("day", "time", "timestamp", "datetime"),
    "ticker": ("symbol",),
    "asset": ("coin", "symbol"),
    "asset_class": ("class", "type"),
    "price": ("close", "priceusd", "closeusd"),
    "adj_close": ("adjustedclose", "closeadjusted", "closeadj"),
    "market_cap": ("cap", "mcap", "marketcapusd", "marketcapitalization", "marketcapitalisation"),
    "volume": ("volumeusd", "dollarvolume", "volume24h"),
    "series": ("seriesid", "code"),
    "total_usd_best": ("totalusd", "supply", "supplyusd", "totalsupply"),
}
"""Other usual names of a column, without case, spaces and signs between words."""

SHOWN = 60
ADVICE = "Nothing was stored: replace it and fetch again."


class Table(NamedTuple):
    """The declared columns of a file, text from a text file, typed from Parquet; and how they were read, where that isn't plain."""

    frame: pd.DataFrame
    notes: list[str]


def read_table(file: Path, columns: Mapping[str, Column]) -> Table:
    """The rows of a file as they are written. Raises `BadInput` where it isn't what its suffix says, or reads in two ways."""
    kind = "Parquet" if file.suffix.lower() == ".parquet" else "CSV"
    try:
        return _read_parquet(file, columns) if kind == "Parquet" else _read_csv(file, columns)
    except (ValueError, OSError, csv.Error) as error:
        why = (str(error).splitlines() or ["it holds nothing"])[0].rstrip(".")
        raise BadInput(f"{file} can't be read as {kind}: {why}. {ADVICE}") from error


def require_whole(file: Path, content: bytes) -> None:
    """Raise `BadInput` where a text breaks off in its last line: the cell that stands there may be half of one."""
    if content and not content.endswith(LINE_ENDS):
        last = content[-SHOWN:].splitlines()[-1].decode(errors="replace")
        raise BadInput(
            f"{file} breaks off in its last line ({last!r}), which has no line end: its last cell may be cut. "
            "Copy the file again, or end the last line if it is whole."
        )


def _read_csv(file: Path, columns: Mapping[str, Column]) -> Table:
    content = file.read_bytes()
    first = re.split(rb"[\r\n]", content, maxsplit=1)[0].decode("utf-8-sig")
    if not first:
        raise ValueError("its first line names no columns")
    require_whole(file, content)
    delimiter = max(DELIMITERS, key=first.count)
    written = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
    names, notes = _declared(written, columns, file)
    if len(written) == 1 and not names:
        raise ValueError(f"its first line, {first[:SHOWN]!r}, isn't parted by a comma, a semicolon, a tab or |")
    frame = _rows(content, delimiter, len(written), {written.index(old): columns[new].kind for old, new in names.items()})
    frame.columns = pd.Index(list(names.values()))
    if delimiter == ",":
        return Table(frame, notes)
    numbers = [name for name in names.values() if columns[name].kind == "number"]
    return Table(_with_points(frame, numbers, file), [*notes, *_delimiter_notes(frame, numbers, delimiter)])


def _rows(content: bytes, delimiter: str, width: int, kinds: Mapping[int, str]) -> pd.DataFrame:
    """The cells of the columns in `kinds`, as text; what repeats, as categories of text."""
    text, few = pa.string(), pa.dictionary(pa.int32(), pa.string())
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(content),
            read_options=pa.csv.ReadOptions(column_names=[str(place) for place in range(width)], skip_rows=1),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter),
            convert_options=pa.csv.ConvertOptions(
                column_types={str(place): text if kind == "number" else few for place, kind in kinds.items()},
                include_columns=[str(place) for place in kinds],
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise ValueError(_ragged(content, delimiter, width) or str(error)) from error
    quotes = content.count(b'"')
    if quotes % 2 or (quotes and table.num_rows + 1 != sum(bool(line.strip()) for line in content.splitlines())):
        raise ValueError("a quoted cell goes over the end of its line, or its quote is never closed")
    return table.to_pandas()


def _ragged(content: bytes, delimiter: str, width: int) -> str:
    """Which line has another number of cells than the first, empty if none has."""
    for number, cells in enumerate(csv.reader(content.decode("utf-8-sig").splitlines(), delimiter=delimiter), start=1):
        if cells and len(cells) != width:
            return f"its line {number} has {'more' if len(cells) > width else 'fewer'} cells than its first line has names"
    return ""


def _with_points(frame: pd.DataFrame, numbers: Sequence[str], file: Path) -> pd.DataFrame:
    """`frame` with a point for each decimal comma. Raises `BadInput` where a comma may as well separate thousands."""
    commas = {name: frame[name].str.contains(",", regex=False) for name in numbers}
    written = {name: commas[name] for name in numbers if commas[name].any()}
    for name, comma in written.items():
        cells = frame[name][comma]
        if cells.str.strip().str.fullmatch(THOUSANDS).all() or frame[name].str.contains(".", regex=False).any():
            raise BadInput(
                f"{file}: column {name!r} holds {cells.iloc[0]!r}, whose comma may stand for the decimal point or for thousands. "
                f"Write the numbers with a decimal point and nothing between thousands. {ADVICE}"
            )
    return frame.assign(**{name: frame[name].str.replace(",", ".", regex=False) for name in written})


def _delimiter_notes(frame: pd.DataFrame, numbers: Sequence[str], delimiter: str) -> list[str]:
    comma = any(frame[name].str.contains(",", regex=False).any() for name in numbers)
    return [f"cells are read as parted by {delimiter!r}{', numbers as written with a decimal comma' if comma else ''}."]


def _read_parquet(file: Path, columns: Mapping[str, Column]) -> Table:
    schema = pa.parquet.read_schema(file)
    if nested := [field.name for field in schema if pa.types.is_nested(field.type)]:
        raise ValueError(f"column {nested[0]!r} holds lists or records, not single cells")
    _require_once(schema.names, file)
    frame = pd.read_parquet(file)
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    names, notes = _declared([str(name) for name in frame.columns], columns, file)
    return Table(frame.rename(columns=names)[list(names.values())], notes)


def _require_once(names: Sequence[str], file: Path) -> None:
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"{file} has {names.count(twice)} columns {twice!r}; keep one of them. {ADVICE}")


def _declared(written: Sequence[str], columns: Mapping[str, Column], file: Path) -> tuple[dict[str, str], list[str]]:
    """The declared column that each written one is, of those that are one; and what is read under another name.

    Case, spaces and underscores don't matter. Raises `BadInput` where two are the same, or one looks like a slip of the pen.
    """
    _require_once(written, file)
    plain = {_plain(column): column for column in columns}
    names = {name: plain[_plain(name)] for name in written if _plain(name) in plain}
    _require_once(list(names.values()), file)
    names |= _synonyms(written, columns, names)
    absent = [column for column in columns if column not in names.values()]
    for name in written:
        near = get_close_matches(_plain(name), map(_plain, absent), n=1, cutoff=CLOSE_TO) if name not in names else []
        if near:
            raise BadInput(
                f"{file} has a column {name!r}, which isn't read. Did you mean {plain[near[0]]!r}? "
                f"Rename it to {plain[near[0]]!r}, or take it away. {ADVICE}"
            )
    return names, [f"column {old!r} is read as {new!r}." for old, new in names.items() if old != new]


def _synonyms(written: Sequence[str], columns: Mapping[str, Column], names: Mapping[str, str]) -> dict[str, str]:
    """Columns under another usual name, where the declared one is absent and only one such stands in its place."""
    candidates = {
        column: [name for name in written if name not in names and _plain(name) in others]
        for column, others in SYNONYMS.items()
        if column in columns and column not in names.values()
    }
    return {others[0]: column for column, others in candidates.items() if len(others) == 1}


def _plain(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum())
