"""How much of the altcoin market has a price here: by month the share of the 50 largest coins' market cap, and who is missing."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sources.errors import GateClosed
from sources.series import COIN_MARKET_CAP, COIN_PRICE
from sources.store import Store

LARGEST = 50
WARN_BELOW, REFUSE_BELOW = 0.85, 0.60
LATELY = pd.Timedelta(days=62)
SAMPLED = "estimated market caps ranked up to"
CARRY = 3  # days a value may be old, as for the members of the index
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

    def to_json(self) -> dict[str, Any]:
        """The day as text."""
        return {**vars(self), "month_end": f"{self.month_end:%Y-%m-%d}"}


def can_be_told(store: Store) -> bool:
    """Whether market caps are known of coins that may have no price; without such a list, every coin that is known has one."""
    return store.market != "live" or store.noted(SAMPLED) is not None


def coverage(store: Store, as_of: pd.Timestamp, start: pd.Timestamp | None = None) -> list[MonthCoverage]:
    """Every month-end since `start` at which a market cap was known by `as_of`, oldest first.

    A coin is missing where the store knows its market cap and no price; coins whose market cap no source gives can't be seen. Empty
    where that can't be told.
    """
    if not can_be_told(store):
        return []
    caps, prices = (store.read_panel(panel, as_of, start) for panel in (COIN_MARKET_CAP, COIN_PRICE))
    if caps.empty:
        return []
    days = caps.index.union(prices.index)
    ends = pd.date_range(days[0], days[-1], freq="ME")
    sizes, priced = _newest(caps, ends), _newest(prices, ends).notna().reindex(columns=caps.columns, fill_value=False)
    rows = zip(ends, sizes.to_numpy(), priced.to_numpy(), strict=True)
    return [_month(end, pd.Series(size, sizes.columns), there) for end, size, there in rows if np.isfinite(size).any()]


def _newest(frame: pd.DataFrame, days: pd.DatetimeIndex) -> pd.DataFrame:
    every = frame.reindex(pd.date_range(frame.index[0], max(frame.index[-1], days[-1]) if len(days) else frame.index[-1]))
    return every.ffill(limit=CARRY).reindex(days)


def _month(end: pd.Timestamp, sizes: pd.Series, priced: npt.NDArray[np.bool_]) -> MonthCoverage:
    largest = sizes.dropna().nlargest(LARGEST)
    there = pd.Series(priced, sizes.index)[largest.index]
    return MonthCoverage(end, float(largest[there].sum() / largest.sum()), [str(coin) for coin in largest.index[~there]])


def require_coverage(months: list[MonthCoverage]) -> str | None:
    """A warning where the last month covers too little to be quiet about, else None. Raises `GateClosed` where it can't be used."""
    if not months or months[-1].share >= WARN_BELOW:
        return None
    last = months[-1]
    if last.share < REFUSE_BELOW:
        raise GateClosed(f"Only {last.words} A forecast needs {REFUSE_BELOW:.0%}: fetch again, or bring their prices in a folder.")
    return f"Only {last.words} The index leans on the others."
