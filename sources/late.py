"""Which bars and values came late: an earlier fetch asked for them, and they were not there yet."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from sources.store import Store

NAMED = 3
DAYS = ("first", "last", "known", "fetched_at")


@dataclass(frozen=True)
class LateArrival:
    """What one source brought late with one fetch, and the day from which it counts as known.

    `codes`: series or symbols; `days`: how many observed days from `first` to `last`. `dated_late` is False for rows of a home
    that was filled before late rows were dated so: they count as known on their own day, and stay as they were stored.
    """

    source: str
    codes: list[str]
    days: int
    first: pd.Timestamp
    last: pd.Timestamp
    known: pd.Timestamp
    fetched_at: pd.Timestamp
    dated_late: bool

    @property
    def words(self) -> str:
        """One line for the user."""
        names = ", ".join(self.codes[:NAMED]) + (f" and {len(self.codes) - NAMED} more" if len(self.codes) > NAMED else "")
        span = f"{self.first:%Y-%m-%d}" + (f" to {self.last:%Y-%m-%d}" if self.days > 1 else "")
        came = f"{names}: {self.days} day{'s' if self.days > 1 else ''} ({span}) came late from {self.source}"
        if self.dated_late:
            return f"{came}, on {self.fetched_at:%Y-%m-%d}; known from {self.known:%Y-%m-%d} on, so scores of earlier days stay."
        return f"{came}, on {self.fetched_at:%Y-%m-%d}; an older version stored this as known on time, and it stays so."

    def to_json(self) -> dict[str, Any]:
        """Days as text."""
        return {**vars(self), **{name: f"{vars(self)[name]:%Y-%m-%d}" for name in DAYS}}


def late_arrivals(store: Store, since: pd.Timestamp, fetched_at: pd.Timestamp | None = None) -> list[LateArrival]:
    """What came late with fetches since a day, or with one fetch only; the newest first. Only a live home is asked day by day."""
    if store.market not in (None, "live"):
        return []
    rows = store.late(since)
    if fetched_at is not None:
        rows = rows[rows["fetched_at"] == fetched_at.as_unit("us")]
    day_before = rows["fetched_at"].dt.normalize() - pd.Timedelta(days=1)
    rows = rows.assign(dated_late=rows["known"] >= day_before, universe=rows["universe"].fillna(""))
    spans = rows.groupby(["fetched_at", "source", "code", "dated_late"])["observed"].agg(["min", "max", "nunique"])
    keyed = rows.drop_duplicates(["fetched_at", "source", "code", "dated_late"]).join(
        spans, on=["fetched_at", "source", "code", "dated_late"]
    )
    groups = keyed.groupby(["fetched_at", "source", "dated_late", "min", "max", "nunique"], sort=False)
    return [_arrival(group) for _, group in groups]


def _arrival(group: pd.DataFrame) -> LateArrival:
    row = group.iloc[0]
    days = int(row["nunique"])
    known, at, late = group["known"].max(), row["fetched_at"], bool(row["dated_late"])
    return LateArrival(str(row["source"]), sorted(group["code"]), days, row["min"], row["max"], known, at, late)
