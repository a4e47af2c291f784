"""Is there enough data, and is it new enough, to be trusted on a day? One verdict a declared series or panel, in plain words."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sources.errors import GateClosed, MissingData
from sources.series import COIN_PRICE, FREQUENCY_DAYS, Panel, Series
from sources.store import Store, by_declaration

WINDOW = pd.Timedelta(days=365)
TRADED_SHARE = 0.68  # of calendar days: five in seven, less holidays
LEAST_ROWS = 0.8  # of the rows a series should have in its window
LEAST_SYMBOLS = 0.2  # of the symbols that quoted lately; sources that drop small coins in one go have left 0.25
WORTH_A_WORD = 0.9
LATELY = pd.Timedelta(days=60)


@dataclass(frozen=True)
class Freshness:
    """How old and how complete one series or panel was at the end of a day.

    `observed` is the last day with a value, `known` the last day on which anything of it became known; None where nothing is known
    from the past year. `coverage` is 0-1: of the expected rows for a series, of the lately quoting symbols for a panel.
    """

    series: str
    observed: pd.Timestamp | None
    known: pd.Timestamp | None
    age_days: int | None
    limit_days: int
    coverage: float
    fresh: bool
    message: str

    def to_json(self) -> dict[str, Any]:
        """Days as text, None where nothing is known."""
        days = {
            name: None if day is None else f"{day:%Y-%m-%d}" for name, day in (("observed", self.observed), ("known", self.known))
        }
        return {**vars(self), **days}


def freshness(store: Store, as_of: pd.Timestamp) -> list[Freshness]:
    """The verdict on every declared series and panel at the end of `as_of`, absent ones included."""
    day = pd.Timestamp(as_of).normalize()
    return [_verdict(declared, rows, day) for declared, rows in by_declaration(store.extent(day, since=day - WINDOW))]


def last_known(store: Store) -> pd.Timestamp:
    """The last day on which the store learnt anything of the coins. Raises `MissingData` where it never did."""
    last = store.last_known(COIN_PRICE)
    if last is None:
        raise MissingData("The store holds no coin prices. Run `altrally fetch` first.")
    return last


def require(verdicts: Iterable[Freshness], names: Iterable[str]) -> None:
    """All of `names` are fresh. Raises `MissingData` if nothing is known of one, `GateClosed` if one can't be trusted."""
    by_name = {verdict.series: verdict for verdict in verdicts}
    for name in names:
        verdict = by_name[name]
        if verdict.observed is None:
            raise MissingData(f"{verdict.message}. Fetch it with `altrally fetch`, or choose a day on which it was known.")
        if not verdict.fresh:
            raise GateClosed(f"{verdict.message}. Run `altrally fetch`, or choose a day with enough data.")


def _verdict(declared: Series | Panel, rows: pd.DataFrame, day: pd.Timestamp) -> Freshness:
    limit = declared.stale_after.days
    if rows.empty:
        message = f"{declared.name}: nothing known from the {WINDOW.days} days before {day:%Y-%m-%d}"
        return Freshness(declared.name, None, None, None, limit, 0.0, False, message)
    last = rows["last"].max()
    age = (day - last).days
    if isinstance(declared, Panel):
        coverage, least, of_what = _quoting_share(rows, declared.stale_after, day), LEAST_SYMBOLS, "symbols that quoted lately"
    else:
        coverage, least, of_what = _row_share(declared, rows), LEAST_ROWS, "days expected in the past year"
    verdict = "too old" if age > limit else "too thin" if coverage < least else "fresh"
    share = f" ({coverage:.0%} of the {of_what})" if coverage < WORTH_A_WORD else ""
    when = f"last observed {last:%Y-%m-%d}, {age} day{'' if age == 1 else 's'} before {day:%Y-%m-%d}"
    message = f"{declared.name}: {when}; limit {limit} days: {verdict}{share}"
    return Freshness(declared.name, last, rows["known_last"].max(), age, limit, coverage, verdict == "fresh", message)


def _quoting_share(rows: pd.DataFrame, stale_after: pd.Timedelta, day: pd.Timestamp) -> float:
    """Share of the symbols that quoted in the past two months that still do."""
    lately = int((rows["last"] >= day - stale_after - LATELY).sum())
    return int((rows["last"] >= day - stale_after).sum()) / lately if lately else 0.0


def _row_share(declared: Series, rows: pd.DataFrame) -> float:
    """Rows over those expected between the first and the last day of the window."""
    row = rows.iloc[0]
    expected = (row["last"] - row["first"]).days / FREQUENCY_DAYS[declared.frequency]
    expected *= TRADED_SHARE if declared.frequency == "daily" else 1
    return min(1.0, row["rows"] / expected) if expected else 1.0
