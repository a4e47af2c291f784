"""When which name was a member of the index of constituents, where the user knows it; and what is said where nobody does.

A stay is one observation: of the day it began, known at once, its length in days, 0 while it lasts. That it ended is a new version,
known from the day it was fetched if that is later.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from core.arrays import Bools
from sources.batches import Skipped

if TYPE_CHECKING:
    from sources.store import Store

PREFIX = "member:"
LISTS = "lists of constituents"
LISTED_AFTER = pd.Timedelta(days=1)
OLD_LIST = pd.Timedelta(days=45)
NAMED = 3
LONG_ENOUGH = pd.Timedelta(days=3 * 365)
BIAS = (
    "On real constituents of 2003 to 2020, 44 % of which vanished later, leaving those out moved the share above the 200-session "
    "mean by +0.6 points on average, up to 8 on a day; names that vanished before are in no source, so the true bias is larger"
)


def impossible_stays(stays: pd.DataFrame) -> tuple[Bools, Callable[[npt.NDArray[np.intp]], str]]:
    """Rows of `stays` (ticker, from, to) that end before they begin or overlap the one before; and words for some of them."""
    ordered = stays.sort_values(["ticker", "from"], kind="stable")
    backwards = ordered["to"] < ordered["from"]
    same = ordered["ticker"].astype("str") == ordered["ticker"].astype("str").shift()
    overlapping = same & ~(ordered["to"].shift() < ordered["from"])

    def words(rows: npt.NDArray[np.intp]) -> str:
        row = stays.iloc[rows[0]]
        what = "leaves before it joins" if backwards[stays.index[rows[0]]] else "joins again before it left"
        return f"{row['ticker']} {what} ({row['from']:%Y-%m-%d})"

    return (backwards | overlapping).reindex(stays.index).to_numpy(), words


def observations(stays: pd.DataFrame) -> pd.DataFrame:
    """One row a stay: series, observed, known, value."""
    lasted = (stays["to"] - stays["from"]).dt.days + 1
    began = stays["from"]
    return pd.DataFrame(
        {"series": PREFIX + stays["ticker"].astype("str"), "observed": began, "known": began, "value": lasted.fillna(0.0)}
    )


def doubts(stays: pd.DataFrame, stored: pd.DataFrame) -> Iterator[Skipped]:
    """What makes a list of stays look wrong though each of them is possible."""
    span = stays["from"].max() - stays["from"].min()
    if stays["to"].isna().all() and span >= LONG_ENOUGH:
        years = span.days / 365
        yield Skipped(
            "membership", f"no name ever leaves in {years:.0f} years, so it lists survivors: breadth of the past flatters."
        )
    keys = pd.MultiIndex.from_frame(stays[["ticker", "from"]].astype({"ticker": "str"}))
    dropped = int((~pd.MultiIndex.from_frame(stored[["ticker", "from"]]).isin(keys)).sum())
    if dropped:
        yield Skipped(
            "membership", f"{dropped} stays stored before are not in the file any more; they count until a new home is fetched."
        )


def members_only(panel: pd.DataFrame, stays: pd.DataFrame) -> pd.DataFrame:
    """`panel` (days × symbols) on the days each symbol was a member, NaN on the others; symbols and days with none are left out."""
    inside = np.zeros(panel.shape, dtype=bool, order="F")
    stays = stays[stays["ticker"].isin(panel.columns)]
    column = panel.columns.get_indexer(pd.Index(stays["ticker"]))
    first = panel.index.searchsorted(stays["from"].to_numpy())
    last = panel.index.searchsorted(stays["to"].fillna(pd.Timestamp.max.as_unit("us")).to_numpy(), side="right")
    for place, begin, end in zip(column, first, last, strict=True):
        inside[begin:end, place] = True
    masked = panel.where(inside)
    return masked.dropna(how="all").dropna(how="all", axis=1)


def sentence(classes: dict[str, str], stays: pd.DataFrame) -> str:
    """What breadth rests on, for people. `classes`: survivor or delisted, by symbol."""
    gone = sum(kind == "delisted" for kind in classes.values())
    if not classes:
        return "No constituents: breadth rests on funds of small caps."
    if len(stays):
        names = f"{stays['ticker'].nunique()} names in {len(stays)} stays"
        return f"{len(classes)} constituents, each counted only while it was a member ({names})."
    if gone:
        return (
            f"{len(classes)} constituents, {gone} of them vanished; when each was a member is not known, so all count at all times."
        )
    return f"{len(classes)} constituents, survivors only. {BIAS}."


@dataclass(frozen=True)
class StoredList:
    """What a home remembers of a list: its day, how many names, what it calls itself, whether they count before it as survivors."""

    day: pd.Timestamp
    names: int
    fund: str
    survivors: bool


def stored_lists(store: "Store") -> list[StoredList]:
    """The dated lists of a home, the oldest first."""
    rows = json.loads(store.noted(LISTS) or "[]")
    return [StoredList(pd.Timestamp(row["day"]), row["names"], row["fund"], row["survivors"]) for row in rows]


def note_lists(store: "Store", lists: Sequence[StoredList]) -> None:
    """Remember `lists` in place of those that were."""
    store.note(LISTS, json.dumps([{**vars(entry), "day": f"{entry.day:%Y-%m-%d}"} for entry in lists]))


def breadth_basis(store: "Store", as_of: pd.Timestamp, today: pd.Timestamp | None = None) -> str:
    """What breadth rests on at the end of `as_of`, for people. Seen from `today`, it says too where the last list is old."""
    lists, stays = stored_lists(store), store.stays(as_of)
    if not lists:
        return sentence(store.asset_classes("stock"), stays)
    first, counting = lists[0], [entry for entry in lists if entry.survivors or entry.day < as_of.normalize()]
    if not counting:
        return (
            f"Constituents count from {first.day + LISTED_AFTER:%Y-%m-%d} on, the day after their first list; "
            "until then breadth rests on funds of small caps."
        )
    last = counting[-1]
    lacking = sorted(set(stays["ticker"][stays["to"].isna()]) - set(store.asset_classes("stock")))
    prices = f"{len(lacking)} of them without prices{_some(lacking)}" if lacking else "all with prices"
    sentences = [f"{last.fund or 'Constituents'}: {last.names} names, list of {last.day:%Y-%m-%d}, {prices}."]
    if first.survivors:
        sentences.append(f"Before {first.day:%Y-%m-%d} the {first.names} names of the first list count as survivors. {BIAS}.")
    else:
        sentences.append(f"Each counts only while it is listed, from {first.day + LISTED_AFTER:%Y-%m-%d} on.")
    if today is not None and today - last.day > OLD_LIST:
        sentences.append(f"The list is {(today - last.day).days} days old: download a new one and fetch it with --constituents.")
    return " ".join(sentences)


def _some(names: Sequence[str]) -> str:
    return f" ({', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''})"
