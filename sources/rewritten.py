"""Which series' past was rewritten upstream, when, and how much. What was stored first stays what past days knew."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from sources.store import VINTAGES, Store

LISTED = 10


@dataclass(frozen=True)
class Rewriting:
    """What one source changed of one series or symbol on one day.

    `largest` is the largest relative change, None where a value was withdrawn or was 0. `revision`: published as a vintage, as
    revised series are, and not a silent correction.
    """

    code: str
    source: str
    known: pd.Timestamp
    fields: str
    days: int
    first: pd.Timestamp
    last: pd.Timestamp
    largest: float | None
    revision: bool

    @property
    def words(self) -> str:
        """One line for the user."""
        span = f"{self.first:%Y-%m-%d}" + (f" to {self.last:%Y-%m-%d}" if self.days > 1 else "")
        size = "" if self.largest is None else f" by up to {self.largest:.2%}"
        days = f"{self.days} day{'s' if self.days > 1 else ''}"
        kept = f"days before {self.known:%Y-%m-%d} keep what they knew"
        return f"{self.code}: {self.source} rewrote {days} of its past ({self.fields} of {span}){size}; {kept}."

    def to_json(self) -> dict[str, Any]:
        """Days as text."""
        return {**vars(self), **{name: f"{vars(self)[name]:%Y-%m-%d}" for name in ("known", "first", "last")}}


def rewritten(store: Store, since: pd.Timestamp, fetched_at: pd.Timestamp | None = None) -> list[Rewriting]:
    """Everything rewritten that became known on `since` or later, the newest first; only what one fetch brought if it is named."""
    rows = store.rewritten(since)
    if fetched_at is not None:
        rows = rows[rows["fetched_at"] == fetched_at.as_unit("us")]
    return [_rewriting(row) for row in rows.to_dict("records")]


def _rewriting(row: dict[Any, Any]) -> Rewriting:
    largest = None if pd.isna(row["largest"]) else float(row["largest"])
    names = ("code", "source", "known", "fields", "first", "last")
    told = {name: row[name] for name in names}
    return Rewriting(**told, days=int(row["days"]), largest=largest, revision=row["source"] == VINTAGES)


def told(found: list[Rewriting]) -> list[str]:
    """Silent corrections in words, the first few one by one."""
    silent = [one.words for one in found if not one.revision]
    more = len(silent) - LISTED
    return silent[:LISTED] + ([f"{more} more were rewritten; `altrally status --json` lists them."] if more > 0 else [])
