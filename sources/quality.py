"""Is there enough data, new enough, of enough of the market, and stored under a right clock, to be trusted on a day?"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.arrays import Bools
from core.errors import BadInput, GateClosed, MissingData
from sources.batches import Skipped
from sources.database import by_declaration
from sources.http import Site
from sources.reader import latest_values
from sources.series import COIN_MARKET_CAP, COIN_PRICE, FREQUENCY_DAYS, Panel, Series
from sources.store import Store

WINDOW = pd.Timedelta(days=365)
TRADED_SHARE = 0.68  # of calendar days: five in seven, less holidays
LEAST_ROWS = 0.8  # of the rows a series should have in its window
LEAST_SYMBOLS = 0.2  # of the symbols that quoted lately; sources that drop small coins in one go have left 0.25
WORTH_A_WORD = 0.9
RECENT = pd.Timedelta(days=60)


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

    def to_dict(self) -> dict[str, Any]:
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
    """The last day on which any coin price became known. Raises `MissingData` if there is none."""
    last = store.last_known(COIN_PRICE)
    if last is None:
        raise MissingData(f"{no_altcoins(store)}. Run `altrally fetch` first.")
    return last


def no_altcoins(store: Store) -> str:
    """What a store without prices of altcoins holds of coins, in a sentence without its full stop."""
    classes = store.asset_classes("coin")
    if classes:
        return f"The store holds no altcoin, only {', '.join(list(classes)[:3])}: their asset_class is not 'coin'"
    return "The store holds no coin prices"


def require(verdicts: Iterable[Freshness], names: Iterable[str]) -> None:
    """Check that `names` are fresh. Raises `MissingData` if nothing is known of one, `GateClosed` if one can't be trusted."""
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
    lately = int((rows["last"] >= day - stale_after - RECENT).sum())
    return int((rows["last"] >= day - stale_after).sum()) / lately if lately else 0.0


def _row_share(declared: Series, rows: pd.DataFrame) -> float:
    """Rows over those expected between the first and the last day of the window."""
    row = rows.iloc[0]
    expected = (row["last"] - row["first"]).days / FREQUENCY_DAYS[declared.frequency]
    expected *= TRADED_SHARE if declared.frequency == "daily" else 1
    return min(1.0, row["rows"] / expected) if expected else 1.0


LARGEST = 50
WARN_BELOW, REFUSE_BELOW = 0.85, 0.60
RECENT_COINS = pd.Timedelta(days=62)
SAMPLED = "estimated market caps ranked up to"
NAMED = 10


@dataclass(frozen=True)
class MonthCoverage:
    """One month-end: the share (0-1) of the largest coins' market cap that has a price, and those without one, largest first."""

    month_end: pd.Timestamp
    share: float
    missing: list[str]

    @property
    def words(self) -> str:
        """One line for the user."""
        share = f"{self.share:.0%} of the market cap of the {LARGEST} largest known coins had a price on {self.month_end:%Y-%m-%d}"
        if not self.missing:
            return f"{share}."
        more = f" and {len(self.missing) - NAMED} more" if len(self.missing) > NAMED else ""
        return f"{share}; missing: {', '.join(self.missing[:NAMED])}{more}."

    def to_dict(self) -> dict[str, Any]:
        """The day as text."""
        return {**vars(self), "month_end": f"{self.month_end:%Y-%m-%d}"}


def coverage_is_measurable(store: Store) -> bool:
    """Whether market caps are known of coins that may have no price; without such a list, every coin that is known has one."""
    return store.market != "live" or store.noted(SAMPLED) is not None


def coverage_by_month(store: Store, as_of: pd.Timestamp, start: pd.Timestamp | None = None) -> list[MonthCoverage]:
    """Every month-end since `start` at which a market cap was known by `as_of`, oldest first.

    A coin is missing where the store knows its market cap and no price; coins whose market cap no source gives can't be seen. Empty
    where that can't be told.
    """
    if not coverage_is_measurable(store):
        return []
    caps, prices = (store.read_panel(panel, as_of, start) for panel in (COIN_MARKET_CAP, COIN_PRICE))
    if caps.empty:
        return []
    days = caps.index.union(prices.index)
    ends = pd.date_range(days[0], days[-1], freq="ME")
    sizes, priced = latest_values(caps, ends), latest_values(prices, ends).notna().reindex(columns=caps.columns, fill_value=False)
    rows = zip(ends, sizes.to_numpy(), priced.to_numpy(), strict=True)
    return [_month(end, pd.Series(size, sizes.columns), there) for end, size, there in rows if np.isfinite(size).any()]


def _month(end: pd.Timestamp, sizes: pd.Series, priced: Bools) -> MonthCoverage:
    largest = sizes.dropna().nlargest(LARGEST)
    there = pd.Series(priced, sizes.index)[largest.index]
    return MonthCoverage(end, float(largest[there].sum() / largest.sum()), [str(coin) for coin in largest.index[~there]])


def require_coverage(months: list[MonthCoverage]) -> str | None:
    """A warning if the last month covers little of the market, else None. Raises `GateClosed` where it can't be used."""
    if not months or months[-1].share >= WARN_BELOW:
        return None
    last = months[-1]
    if last.share < REFUSE_BELOW:
        raise GateClosed(f"Only {last.words} A forecast needs {REFUSE_BELOW:.0%}: fetch again, or bring their prices in a folder.")
    return f"Only {last.words} The index leans on the others."


LABEL = "clock"
A_DAY = pd.Timedelta(days=1)
QUIET = pd.Timedelta(days=30)
OLD_BARS = pd.Timedelta(days=10)


def refuse_earlier(store: Store, today: pd.Timestamp) -> None:
    """Raise `BadInput` where `today` lies before the day of this home's last fetch."""
    last = store.last_fetch()
    if last is not None and today.normalize() < last.normalize():
        apart = f"This computer's clock says {today:%Y-%m-%d %H:%M} UTC, and this home was last fetched on {last:%Y-%m-%d}"
        cure = "if it is right now, `altrally repair` dates anew what was stored under the wrong one"
        raise BadInput(f"{apart}: one of the two is wrong. Set the clock; {cure}.")


def compare_service_clocks(store: Store, sites: Sequence[Site], today: pd.Timestamp) -> Iterator[Skipped]:
    """A warning, once a month, if `today` is earlier than the services' clocks. Raises `BadInput` if it is later."""
    dates = {site.name: site.health.date for site in sites if site.health.date is not None}
    if not dates:
        return
    name = min(dates, key=lambda site: abs(dates[site] - today))
    apart = f"This computer's clock says {today:%Y-%m-%d %H:%M} UTC, {name}'s says {dates[name]:%Y-%m-%d %H:%M}"
    if today - dates[name] > A_DAY:
        raise BadInput(f"{apart}. What is stored under a wrong clock would count as known on wrong days. Set it and fetch again.")
    last_warning = store.noted(LABEL)
    if dates[name] - today > A_DAY and (last_warning is None or today - pd.Timestamp(last_warning) > QUIET):
        store.note(LABEL, f"{today:%Y-%m-%d}")
        yield Skipped(LABEL, f"{apart}. If this computer is wrong, set its clock and fetch again. Told once a month.")


def warn_of_old_bars(newest: pd.Timestamp | None, today: pd.Timestamp) -> Iterator[str]:
    """A warning if the newest bar of a fetch is much older than `today`."""
    if newest is not None and today - newest > OLD_BARS:
        days = f"{(today - newest).days} days before this computer's clock ({today:%Y-%m-%d})"
        yield f"{LABEL}: the newest bar is of {newest:%Y-%m-%d}, {days}. If the clock is wrong, set it and run `altrally repair`."
