"""Which names an index held on a day, from a file its fund's issuer offers; kept as dated membership, from the day after on.

An issuer publishes what its fund held on a day when that day is over, so a list counts from the next day, and a name that the next
list lacks counted to the day of that list. Before the first list no name counts, unless the user lets its names count as survivors.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from core.errors import BadInput
from sources.batches import Batch
from sources.constituents import LIST, Wanted, estimate
from sources.http import RetryPolicy
from sources.membership import LISTED_AFTER, StoredList, note_lists, observations, stored_lists
from sources.quality import refuse_earlier
from sources.schemas import check_batch
from sources.store import Store
from sources.tables import require_whole
from sources.yahoo import FAR_OFF, FIRST_DAY, LATELY

LEAST_NAMES = 100
LEAST_COMMON = 1 / 3  # of the names on either of two lists in a row; small caps of two providers share a fifth
TICKER_COLUMNS = ("ticker", "symbol")
DAY_COLUMNS = ("date", "day", "as of date")
DAY_FORMATS = ("%Y-%m-%d", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y", "%d/%b/%Y", "%d %b %Y")
AS_OF = re.compile(r"\bas of\b[\s:,]*", re.IGNORECASE)
SHARE = re.compile(r"([A-Z]{1,5})(?:[-./ ]([A-Z]{1,2}))?")
WEB_PAGE = (
    "is a web page, not a list: the issuer answered with a page. Open it in a browser, accept its terms, download the CSV again"
)
SPREADSHEET = "is a spreadsheet, not text: open it and save it as CSV"


@dataclass(frozen=True)
class ConstituentList:
    """Tickers an index held at the end of `day`, as Yahoo spells them. `fund` is what the file calls itself, perhaps nothing."""

    day: pd.Timestamp
    tickers: tuple[str, ...]
    fund: str
    left_out: int


class Rows(NamedTuple):
    """The parts of a file: cells before the line that names the columns, that line, and the rows after it."""

    preamble: list[list[str]]
    columns: list[str]
    rows: list[list[str]]


def read_list(file: Path, day: pd.Timestamp | None, today: pd.Timestamp) -> ConstituentList:
    """The shares that `file` lists. `day`: when that was true, for a file that doesn't say.

    Cash, futures, unlisted and worthless positions are left out. Raises `BadInput` where it isn't one whole list of one day.
    """
    parts = _parts(file, _text(file))
    place = next(parts.columns.index(name) for name in TICKER_COLUMNS if name in parts.columns)
    tickers = [spelt for row in parts.rows if _is_share(parts.columns, row) and (spelt := _spelt(row[place]))]
    (often, times), *_ = Counter(tickers).most_common(1) or [("", 0)]
    if times > 1:
        raise BadInput(f"{file} lists {often} {times} times; take away all rows of it but one.")
    if len(tickers) < LEAST_NAMES:
        least = f"breadth of small caps needs at least {LEAST_NAMES}"
        raise BadInput(f"{file} lists {len(tickers)} shares, and {least}: is it the whole list of an index?")
    fund = next((cells[-1] for cells in parts.preamble[:1] if len(cells) == 1 or cells[0] == "Fund Name:"), "")
    return ConstituentList(_day_of(file, parts, day, today), tuple(tickers), fund, len(parts.rows) - len(tickers))


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file} can't be read: {error.strerror or error}.") from None
    if content.startswith((b"PK", b"\xd0\xcf")):
        raise BadInput(f"{file} {SPREADSHEET}.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} isn't UTF-8 (byte {error.start}); save it as such.") from None
    if text.lstrip().startswith("<"):
        raise BadInput(f"{file} {WEB_PAGE}.")
    if not text.strip():
        raise BadInput(f"{file} is empty; download it again.")
    return text


def _parts(file: Path, text: str) -> Rows:
    """The table in a file, to the first line after it that has one cell or none: what follows are terms."""
    lines = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(keepends=True))]
    names = [[cell.casefold() for cell in row] for row in lines]
    head = next((number for number, row in enumerate(names) if set(row) & set(TICKER_COLUMNS)), None)
    if head is None:
        raise BadInput(f"{file} has no column 'ticker' or 'symbol'; give a list with one, or the issuer's CSV of all holdings.")
    if head == 0:
        require_whole(file, file.read_bytes())
    rows: list[list[str]] = []
    width = len(names[head])
    for number, row in enumerate(lines[head + 1 :], start=head + 2):
        filled = sum(bool(cell) for cell in row)
        if filled == 0 or (filled == 1 and width > 1):
            if rows and filled:
                break
            continue
        if len(row) != width:
            cells = f"{len(row)} cells, and there are {width} columns"
            raise BadInput(f"{file}: line {number} has {cells}: is the download whole? Download it again.")
        rows.append(row)
    return Rows([[cell for cell in row if cell] for row in lines[:head] if any(row)], names[head], rows)


def _is_share(columns: Sequence[str], row: Sequence[str]) -> bool:
    """Whether a row is a listed share that is worth something, as far as the file says."""
    cells = dict(zip(columns, row, strict=True))
    return (
        cells.get("asset class", "equity").casefold() in ("equity", "stock", "common stock")
        and not cells.get("exchange", "").casefold().startswith("no market")
        and cells.get("price", "") not in ("0", "0.00")
    )


def _spelt(ticker: str) -> str:
    """A ticker as Yahoo spells it, with a hyphen before a class of shares; empty where it is none."""
    share = SHARE.fullmatch(ticker.upper())
    return "-".join(part for part in share.groups() if part) if share else ""


def _day_of(file: Path, parts: Rows, given: pd.Timestamp | None, today: pd.Timestamp) -> pd.Timestamp:
    """The day a list was true: as the file says, else as given. Raises `BadInput` where both say different days, or none does."""
    lines = (AS_OF.split(", ".join(cells), maxsplit=1) for cells in parts.preamble)
    written = next((halves[1] for halves in lines if len(halves) > 1), "")
    column = next((parts.columns.index(name) for name in DAY_COLUMNS if name in parts.columns), None)
    if column is not None and not written:
        days = {row[column] for row in parts.rows}
        if len(days) > 1:
            raise BadInput(f"{file} holds lists of {len(days)} days ({min(days)} to {max(days)}); give one day a file.")
        written = days.pop() if days else ""
    stated = next((day for form in DAY_FORMATS if (day := _parsed(written, form)) is not None), None)
    if stated is not None and given is not None and stated != given:
        raise BadInput(f"{file} says it is of {stated:%Y-%m-%d}, and --as-of says {given:%Y-%m-%d}; leave --as-of away.")
    day = given if stated is None else stated
    if day is None:
        what = f"says it is of {written!r}, which is no plain day" if written else "doesn't say of which day it is"
        raise BadInput(f"{file} {what}. Add --as-of YYYY-MM-DD, the day on which it was true.")
    if day > today.normalize():
        raise BadInput(f"{file} is of {day:%Y-%m-%d}, and today is {today:%Y-%m-%d}: a list of the future can't be true.")
    return day


def _parsed(text: str, form: str) -> pd.Timestamp | None:
    try:
        return pd.Timestamp(datetime.strptime(text, form))
    except ValueError:
        return None


def add_list(store: Store, constituents: ConstituentList, *, survivors: bool, today: pd.Timestamp) -> str:
    """Store a list as dated membership; returns what was stored and how long its bars take, for the user.

    Names that are new join the day after the list's; names that it lacks leave with its day. With `survivors` the names of the
    first list count at all times before it too. Storing the same list again changes nothing. Raises `BadInput`.
    """
    store.refuse_other_market("live")
    refuse_earlier(store, today)
    refuse_undated(store)
    lists, stays = stored_lists(store), store.stays(FAR_OFF)
    members = set(stays["ticker"][stays["to"].isna()])
    _refuse_misfit(constituents, lists, members, survivors=survivors)
    joined = [ticker for ticker in constituents.tickers if ticker not in members]
    left = stays[stays["to"].isna() & ~stays["ticker"].isin(constituents.tickers)].assign(to=constituents.day)
    since = FIRST_DAY if survivors and not stays["ticker"].size else constituents.day + LISTED_AFTER
    new = pd.DataFrame({"ticker": joined, "from": since, "to": pd.NaT}).astype({"from": "datetime64[us]", "to": "datetime64[us]"})
    batch = Batch("membership", "observations", observations(pd.concat([left, new], ignore_index=True)), "list of constituents")
    check_batch(batch)
    store.claim_market("live")
    store.append(batch, today)
    if not lists or lists[-1].day < constituents.day:
        entry = StoredList(constituents.day, len(constituents.tickers), constituents.fund, survivors)
        note_lists(store, [*lists, entry])
    lacking = len(set(constituents.tickers) - set(store.asset_classes("stock")))
    sentences = [f"{constituents.fund or 'Constituents'}: {len(constituents.tickers)} names, list of {constituents.day:%Y-%m-%d}."]
    if constituents.left_out:
        sentences.append(f"{constituents.left_out} rows that are no listed shares are left out.")
    if lists and lists[-1].day < constituents.day:
        sentences.append(f"Since the list before {len(joined)} joined and {len(left)} left.")
    if lacking:
        time = estimate(lacking, RetryPolicy())
        sentences.append(
            f"Bars of {lacking} names take {time}, after the rest of the fetch; stop it whenever you like, the next goes on."
        )
    return " ".join(sentences)


def refuse_undated(store: Store) -> None:
    """Raise `BadInput` where the home lists names without a day too: they would count at all times."""
    file = store.path.parent / LIST
    if file.exists():
        raise BadInput(f"{file} lists names without a day. Move it away: a dated list takes its place, and they stop counting.")


def _refuse_misfit(constituents: ConstituentList, lists: Sequence[StoredList], members: set[str], *, survivors: bool) -> None:
    """Raise `BadInput` where a list can't follow those that are stored."""
    if not lists:
        return
    last, names = lists[-1], set(constituents.tickers)
    day = f"{constituents.day:%Y-%m-%d}"
    if survivors and not lists[0].survivors:
        raise BadInput(
            f"This home counts names from {lists[0].day:%Y-%m-%d} on; --survivors must come with the first list, in a new home."
        )
    if constituents.day < last.day:
        raise BadInput(
            f"This list is of {day}, and one of {last.day:%Y-%m-%d} is stored: lists go in from the oldest on, in a new home."
        )
    if constituents.day == last.day and names != members:
        raise BadInput(f"Another list of {day} is stored: {len(names ^ members)} names differ. One day has one list.")
    common = len(names & members) / len(names | members)
    if common < LEAST_COMMON:
        raise BadInput(
            f"Only {common:.0%} of the names on this list or the one of {last.day:%Y-%m-%d} are on both: it is of another index. "
            "Give it a home of its own with --home."
        )


def wanted(store: Store) -> list[Wanted]:
    """Every name that is or was a member by a list, with the days whose bars it needs; none in a home without lists."""
    if not stored_lists(store):
        return []
    stays = store.stays(FAR_OFF).assign(to=lambda rows: rows["to"].fillna(FAR_OFF))
    spans = stays.groupby("ticker").agg({"from": "min", "to": "max"})
    return [Wanted(str(name), max(first - LATELY, FIRST_DAY), last) for name, first, last in spans.itertuples()]
