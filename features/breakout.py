"""Whether small caps break out. Dates come from a rule, failures included: nobody picks events."""

import numpy as np
import pandas as pd

from features.registry import feature
from features.transforms import day_numbers, forward_fill, log, moving_mean
from sources.series import IWM, RUT, SPY

SESSIONS_WITHOUT = 252
YEAR = 252  # sessions
HALF_LIFE = 90  # days


def record_breakouts(close: pd.Series, quiet: int = SESSIONS_WITHOUT) -> pd.DatetimeIndex:
    """Days of a record close after at least `quiet` sessions without one. The first high of the series is not a record."""
    quoted = close.dropna()
    return after_quiet(quoted > quoted.cummax().shift(), 0, quiet)


def year_high_breakouts(close: pd.Series, quiet: int = SESSIONS_WITHOUT) -> pd.DatetimeIndex:
    """Days that close above all `YEAR` sessions before, after at least `quiet` sessions known not to have done so."""
    quoted = close.dropna()
    return after_quiet(quoted > quoted.rolling(YEAR).max().shift(), YEAR - 1, quiet)


def after_quiet(high: pd.Series, first: int, quiet: int) -> pd.DatetimeIndex:
    """Sessions marked `high` after more than `quiet` steps from the one marked before, or from number `first`."""
    session = np.flatnonzero(high)
    return pd.DatetimeIndex(high.index[session[np.diff(session, prepend=first) > quiet]])


@feature(
    RUT,
    block="breakout",
    sign=+1,
    unit="log distance",
    rationale="The claim begins with the Russell 2000 at its record; the nearer, the closer the next step of the ladder.",
    lookback=None,
    high=0,
)
def distance_from_record(close: pd.Series) -> pd.Series:
    """Log of the Russell 2000's close over its record close so far."""
    return log(close / close.cummax())


@feature(
    RUT,
    block="breakout",
    sign=0,
    unit="calendar days",
    rationale="The article's own rule, which competes as a baseline, reads it.",
    lookback=None,
    low=0,
)
def days_since_breakout(close: pd.Series) -> pd.Series:
    """Days since the Russell 2000's last record close that came after 252 sessions without one."""
    breakouts = day_numbers(record_breakouts(close))
    today = day_numbers(close.index)
    last = forward_fill(breakouts.astype(np.float64), breakouts, np.full(len(breakouts), np.iinfo(np.int64).max), today)
    return pd.Series(today - last, close.index).where(close.notna())


@feature(
    RUT,
    block="breakout",
    sign=+1,
    unit="1 on the day of a breakout, halved every 90 days",
    rationale="Altcoins are said to follow one to three months after a breakout.",
    lookback=None,
    low=0,
    high=1,
    sd_floor=0.02,
)
def breakout_recency(close: pd.Series) -> pd.Series:
    """How recent the last breakout by rule is: 1 on its day, half of it 90 days later, and so on."""
    return 0.5 ** (days_since_breakout(close) / HALF_LIFE)


@feature(
    IWM,
    SPY,
    block="breakout",
    sign=+1,
    unit="log distance",
    rationale="A breakout counts if small caps are strong against large ones too, not only carried along.",
    lookback=300,
)
def small_cap_strength(small: pd.Series, large: pd.Series) -> pd.Series:
    """Log of IWM over SPY against the 200-session mean of that log."""
    strength = log(small / large)
    return strength - moving_mean(strength, 200, least=150)
