"""What can be new: the series and tickers that a service may have a value of that the store lacks. Only those are asked for.

A value that can't be known yet by its release lag isn't asked for. So a fetch of a later day asks little, a second fetch of a day
next to nothing, and no row is called late because it wasn't looked for.
"""

import numpy as np
import pandas as pd

from sources.series import FREQUENCY_DAYS, PAST_MIDNIGHT, Series

NEW_YORK = "America/New_York"
LATELY = pd.Timedelta(days=40)


def is_due(series: Series, stored: pd.Series, today: pd.Timestamp) -> bool:
    """Whether a value of a macro series after the stored ones could be known by now, or one among those of late is absent.

    `stored`: values by observed day; `today`: the running moment.
    """
    if stored.empty:
        return True
    period = pd.Timedelta(days=FREQUENCY_DAYS[series.frequency])
    next_known = stored.index[-1] + period + series.release_lag
    lately = stored.index[stored.index >= today - LATELY]
    gap = series.frequency == "weekly" and bool((lately[1:] - lately[:-1] > period).any())
    return gap or next_known <= today.normalize()


def last_session(ticker: str, today: pd.Timestamp) -> pd.Timestamp:
    """The last day that is over and of which Yahoo may have a bar of a ticker.

    Coins trade every day, funds and indices on weekdays; of an exchange abroad (`TA35.TA`) it isn't known.
    """
    day = today.normalize() - pd.Timedelta(days=1)
    if ticker.endswith("-USD") or ("." in ticker and ticker not in PAST_MIDNIGHT):
        return day
    return pd.Timestamp(np.busday_offset(day.to_datetime64().astype("datetime64[D]"), 0, roll="backward"))


def over_in(ticker: str, today: pd.Timestamp) -> pd.Timestamp:
    """The running moment by the clock that ends the days of a ticker: UTC's, or New York's where it trades past midnight."""
    zone = NEW_YORK if ticker in PAST_MIDNIGHT else "UTC"
    return today.tz_localize("UTC").tz_convert(zone).tz_localize(None)
