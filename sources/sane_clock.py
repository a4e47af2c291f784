"""Is this computer's clock right? What is stored under a wrong one would count as known on wrong days."""

from collections.abc import Iterator, Sequence

import pandas as pd

from sources.batches import Skipped
from sources.errors import BadInput
from sources.http import Site
from sources.store import Store

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


def beside_services(store: Store, sites: Sequence[Site], today: pd.Timestamp) -> Iterator[Skipped]:
    """Tell, once a month, that `today` lies before what the services' own clocks say. Raises `BadInput` where it lies after."""
    dates = {site.name: site.health.date for site in sites if site.health.date is not None}
    if not dates:
        return
    name = min(dates, key=lambda site: abs(dates[site] - today))
    apart = f"This computer's clock says {today:%Y-%m-%d %H:%M} UTC, {name}'s says {dates[name]:%Y-%m-%d %H:%M}"
    if today - dates[name] > A_DAY:
        raise BadInput(f"{apart}. What is stored under a wrong clock would count as known on wrong days. Set it and fetch again.")
    told = store.noted(LABEL)
    if dates[name] - today > A_DAY and (told is None or today - pd.Timestamp(told) > QUIET):
        store.note(LABEL, f"{today:%Y-%m-%d}")
        yield Skipped(LABEL, f"{apart}. If this computer is wrong, set its clock and fetch again. Told once a month.")


def beside_bars(newest: pd.Timestamp | None, today: pd.Timestamp) -> Iterator[str]:
    """Tell that the newest bar a fetch brought lies long before `today`."""
    if newest is not None and today - newest > OLD_BARS:
        days = f"{(today - newest).days} days before this computer's clock ({today:%Y-%m-%d})"
        yield f"{LABEL}: the newest bar is of {newest:%Y-%m-%d}, {days}. If the clock is wrong, set it and run `altrally repair`."
