"""What a source does to its numbers without a word: a unit slips, a bar comes late, the past is rewritten."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.arrays import Bools, Floats
from sources.database import VINTAGES
from sources.store import Store

DAYS_TO_CONFIRM = 5
ANCHOR = 5
UNITS = np.log([100.0, 1_000.0, 1_000_000.0])
NEAR_A_UNIT = 0.1
NO_VALUES = pd.Series(index=pd.DatetimeIndex([]), dtype="float64")

Far = Callable[[Floats], Bools]


def is_beyond(times: float) -> Far:
    """Whether log ratios mean more than `times` higher or lower."""
    return lambda logs: np.abs(logs) > np.log(times)


def another_unit(logs: Floats) -> Bools:
    """Whether log ratios are within a tenth of 100, a thousand or a million times, up or down."""
    near: Bools = np.abs(np.abs(logs)[..., None] - UNITS).min(axis=-1) < NEAR_A_UNIT
    return near


def held_back(fetched: pd.Series, stored: pd.Series, far: Far, *, confirmed: bool) -> pd.Series:
    """Which days of `fetched` are not to be believed: flags by day.

    Both are values by observed day, in order. A stored day that comes back `far` from what is stored is held back; so is a new day
    that is far from the last one believed, and those that follow until the level returns. If `confirmed`, a new level is believed
    once `DAYS_TO_CONFIRM` days agree on it, as long as stored days come back as they were. With nothing stored the level of the
    last days is believed. What is not above zero is not judged.
    """
    flags = pd.Series(False, index=fetched.index)
    logs, known = _logs(fetched), _logs(stored)
    if known.empty and not far(np.diff(logs.to_numpy())).any():
        return flags
    again = (logs - known.reindex(logs.index)).dropna()
    moved = again.index[far(again.to_numpy())]
    new = logs[logs.index > known.index[-1]] if len(known) else logs[::-1]
    believed = known.iloc[-1] if len(known) else _anchor(logs, far)
    need = DAYS_TO_CONFIRM if confirmed and moved.empty else len(logs) + 1
    flags[moved.union(new.index[_walk(new.to_numpy(), believed, far, need)])] = True
    return flags


def _logs(values: pd.Series) -> pd.Series:
    known = values[values > 0]
    return pd.Series(np.log(known.to_numpy(np.float64)), index=known.index)


def _anchor(logs: pd.Series, far: Far) -> float:
    """The last value that agrees with the typical one of the last few."""
    last = logs.iloc[-ANCHOR:].to_numpy()
    agreeing = last[~far(last - np.median(last))] if last.size else last
    return float(agreeing[-1]) if agreeing.size else float(np.median(last)) if last.size else 0.0


def _walk(logs: Floats, believed: float, far: Far, need: int) -> Bools:
    """Flags of values far from the last one believed, until `need` in a row agree with each other."""
    flags = np.zeros(logs.size, dtype=bool)
    if not far(np.diff(logs, prepend=believed)).any():
        return flags
    run: list[int] = []
    for place, level in enumerate(logs):
        if not far(level - believed):
            believed, run = level, []
            continue
        run = [*run, place] if run and not far(level - logs[run[-1]]) else [place]
        flags[place] = True
        if len(run) >= need:
            flags[run] = False
            believed, run = level, []
    return flags


def held_back_message(fetched: pd.Series, stored: pd.Series, held: pd.Series) -> Iterator[str]:
    """What was held back and why, for the user; nothing where nothing was."""
    if not held.any():
        return
    days = held.index[held]
    ratio = _odd_ratio(fetched, stored, days)
    size = f"{ratio:.3g} times" if ratio > 1 else f"1/{1 / ratio:.3g} of"
    guess = "another unit" if another_unit(np.array([np.log(ratio)])).any() else "a split that isn't adjusted, or a slip"
    count = f"{len(days)} day{'s' if len(days) > 1 else ''} from {days[0]:%Y-%m-%d} on"
    yield f"{count} came at {size} the level before: {guess}? Not stored; what is stored stays."


def _odd_ratio(fetched: pd.Series, stored: pd.Series, days: pd.Index) -> float:
    """How many times the first odd day is of the last one believed; with nothing stored, the last odd day of the next believed."""
    believed = pd.concat([fetched.drop(days), stored])
    believed = believed[believed > 0].sort_index()
    before, after = believed[believed.index <= days[0]], believed[believed.index > days[-1]]
    if len(before) and (len(stored) or after.empty):
        return float(fetched[days[0]] / before.iloc[-1])
    if len(after):
        return float(fetched[days[-1]] / after.iloc[0])
    return float(fetched[days[0]] / believed.iloc[0]) if len(believed) else float(fetched.max() / fetched[fetched > 0].min())


def gone_message(fetched: pd.Index, stored: pd.Index, since: pd.Timestamp) -> Iterator[str]:
    """Which stored days since `since` a source no longer sends, for the user; nothing where it sends all."""
    gone = stored[stored >= since].difference(fetched)
    if len(gone):
        days = f"{len(gone)} stored day{'s' if len(gone) > 1 else ''} from {gone[0]:%Y-%m-%d} to {gone[-1]:%Y-%m-%d}"
        yield f"its history was shortened: {days} no longer come. What is stored stays."


SESSIONS_STILL = 5
"""Equal closes without a trade, in a row up to the last bar, from which on it is told. Funds that are traded little reach it."""


def still_since(bars: pd.DataFrame) -> pd.Timestamp | None:
    """The first of the last bars (days × fields) that repeat one close without a trade, None where they are fewer than it takes."""
    idle = (bars["close"] == bars["close"].shift()) & ((bars["high"] == bars["low"]) | ~(bars["volume"] > 0))
    still = int(idle[::-1].cummin().sum()) + 1
    return bars.index[-still] if still >= SESSIONS_STILL else None


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

    def to_dict(self) -> dict[str, Any]:
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

    def to_dict(self) -> dict[str, Any]:
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
    shared = {name: row[name] for name in names}
    return Rewriting(**shared, days=int(row["days"]), largest=largest, revision=row["source"] == VINTAGES)


def rewriting_lines(rewritings: list[Rewriting]) -> list[str]:
    """Silent corrections in words, the first few one by one."""
    silent = [rewriting.words for rewriting in rewritings if not rewriting.revision]
    more = len(silent) - LISTED
    return silent[:LISTED] + ([f"{more} more were rewritten; `altrally status --json` lists them."] if more > 0 else [])
