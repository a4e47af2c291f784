"""Line 1 of the claim: the Russell 2000 breaks out, one to three months later altcoins follow. All dates come from a rule."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from evaluation.proportions import clopper_pearson
from features.breakout import record_breakouts, year_high_breakouts
from sources.series import BTC, IWM, RUT
from studies.audit.events import FirstPassage, event_occurred, first_passage, rotation_p
from studies.audit.market_state import Facts
from studies.audit.verdicts import Evidence, Line, with_verdict

Rule = tuple[str, int]
"""Kind of high, and the number of sessions without one before it."""

KINDS: dict[str, Callable[[pd.Series, int], pd.DatetimeIndex]] = {"record": record_breakouts, "52-week high": year_high_breakouts}
QUIET_SESSIONS = (126, 252, 504)
BREAKOUT_RULE: Rule = ("record", 252)
RISE = 0.30
RISES = (0.20, RISE, 0.50)
WITHIN, IN_WINDOW = (1, 90), (30, 90)
WINDOWS = ((1, 30), (1, 60), WITHIN, IN_WINDOW, (91, 180))
"""Days after the breakout on which the first passage must fall, both included."""

HORIZONS = (30, 60, 90, 180)
LOOKED_AHEAD = 180
WEEK = pd.Timedelta(days=7)
NEEDED = 0.20
"""Smallest rise of the probability of a rally (20 points) that the claim could mean."""

ARTICLE = (("2017", "2017-01-01", "2017-12-31"), ("2021", "2021-01-01", "2021-12-31"), ("January 2026", "2026-01-01", "2026-01-31"))
HOW = (
    "Breakout: a close of ^RUT above every earlier close (record), or above all 252 sessions before (52-week high), after at least "
    "so many sessions without one. Hit: the altcoin index first closes at least the asked rise above its close of the breakout's "
    "day on a day of the window, counted in calendar days. Unknown, never a miss: windows not over, or days without the index."
)


@dataclass(frozen=True)
class Market:
    """Closes of one market by observed day, and the last day whose close can be known."""

    closes: pd.Series
    last: pd.Timestamp


@dataclass(frozen=True)
class Followed:
    """Return of a market after a day: at the horizon (days), and at the highest close until then. None: not known."""

    days: int
    value: float | None
    highest: float | None


@dataclass(frozen=True)
class Event:
    """One breakout and what followed.

    `first_passage_days`: days until altcoins were first 30 % higher; None where they weren't within `days_seen` days (180 at most).
    `hits`: of each window True, False, or None where it isn't known; `unknown` says why.
    """

    kind: str
    quiet: int
    day: str
    close: float
    followed: dict[str, list[Followed]]
    first_passage_days: int | None
    days_seen: int
    hits: dict[str, bool | None]
    unknown: str | None


@dataclass(frozen=True)
class HitRate:
    """Hit rate of one rule, rise and window, and the base rate over all days with a known outcome.

    `low`, `high`: exact 95 % interval of the rate. `p`: share of the `rotations` (circular shifts of the breakouts along those
    days) with at least as many hits; about `independent` of them are independent.
    """

    kind: str
    quiet: int
    rise: float
    first_day: int
    last_day: int
    n: int
    hits: int
    rate: float | None
    low: float
    high: float
    base_rate: float | None
    difference: float | None
    p: float | None
    rotations: int
    independent: int


@dataclass(frozen=True)
class Article:
    """A period that the article names, the breakouts by rule within it, and the last breakout before its end."""

    said: str
    first: str
    last: str
    over: bool
    records: list[str]
    year_highs: list[str]
    last_record_breakout: str | None


@dataclass(frozen=True)
class Breakouts:
    """Result for line 1: events by rule, the grid of hit rates, and the article's periods. `missing` names missing data."""

    how: str
    missing: str
    events: list[Event]
    grid: list[HitRate]
    article: list[Article]


def breakouts(facts: Facts) -> Breakouts:
    """Breakouts by rule, what followed each, and the grid of hit rates."""
    close, level = facts.closes(RUT), facts.index.level
    dates = {(kind, quiet): KINDS[kind](close, quiet) for kind, quiet in product(KINDS, QUIET_SESSIONS)}
    passages = {rise: first_passage(level, rise, LOOKED_AHEAD) for rise in RISES}
    markets = {"altcoins": Market(level, level.index[-1] if len(level) else facts.as_of)}
    markets |= {series.name: Market(facts.closes(series), facts.as_of - series.release_lag) for series in (BTC, IWM)}
    markets["^RUT"] = Market(close, facts.as_of - RUT.release_lag)
    return Breakouts(
        how=HOW,
        missing="the store holds no closes of ^RUT" if close.empty else "the store holds no coin prices" if level.empty else "",
        events=[event(rule, day, close[day], markets, passages[RISE]) for rule, days in dates.items() for day in days],
        grid=[hit_rate(rule, dates[rule], passages[rise], rise, window) for rule, rise, window in product(dates, RISES, WINDOWS)],
        article=[article(*period, dates, facts.as_of) for period in ARTICLE],
    )


def event(rule: Rule, day: pd.Timestamp, close: float, markets: dict[str, Market], passage: FirstPassage) -> Event:
    """One breakout, with the returns and hits after it."""
    seen = int(passage.seen.get(day, -1))
    wait = float(passage.wait.get(day, np.inf))
    return Event(
        *rule,
        day=f"{day:%Y-%m-%d}",
        close=float(close),
        followed={name: [return_after(market, day, days) for days in HORIZONS] for name, market in markets.items()},
        first_passage_days=int(wait) if wait <= seen else None,
        days_seen=min(max(seen, 0), LOOKED_AHEAD),
        hits={window_name(window): hit(passage, day, window) for window in (WITHIN, IN_WINDOW)},
        unknown=reason_unknown(passage, day, seen),
    )


def window_name(window: tuple[int, int]) -> str:
    """Text of a window, shown to users and used as a key."""
    return f"day {window[0]} to {window[1]}"


def hit(passage: FirstPassage, day: pd.Timestamp, window: tuple[int, int]) -> bool | None:
    """Whether the first passage fell in the window; None while that isn't known."""
    outcome = event_occurred(passage, *window).get(day, np.nan)
    return None if np.isnan(outcome) else bool(outcome)


def reason_unknown(passage: FirstPassage, day: pd.Timestamp, seen: int) -> str | None:
    """Reason why the 90 days after a breakout can't be judged; None if they can."""
    if seen >= WITHIN[1]:
        return None
    if not len(passage.seen) or day < passage.seen.index[0]:
        return "no altcoin index yet"
    over = day + pd.Timedelta(days=WITHIN[1]) <= passage.seen.index[-1]
    return "altcoin index missing" if over or seen < 0 else "not over yet"


def return_after(market: Market, day: pd.Timestamp, days: int) -> Followed:
    """Return from `day` to the horizon, from the last known closes, at most a week old."""
    end = day + pd.Timedelta(days=days)
    before, after = market.closes.loc[day - WEEK : day], market.closes.loc[day + pd.Timedelta(days=1) : end]
    gap = before.empty or after.empty or after.index[-1] < end - WEEK
    if gap or end > market.last or before.iloc[-1:].isna().any() or after.isna().any():
        return Followed(days, None, None)
    return Followed(days, float(after.iloc[-1] / before.iloc[-1] - 1), float(after.max() / before.iloc[-1] - 1))


def hit_rate(rule: Rule, dates: pd.DatetimeIndex, passage: FirstPassage, rise: float, window: tuple[int, int]) -> HitRate:
    """Hit rate of one rule, rise and window."""
    known = event_occurred(passage, *window).dropna()
    chosen = np.flatnonzero(known.index.isin(dates))
    hits, n = int(known.iloc[chosen].sum()), len(chosen)
    rate, base = (hits / n if n else None), (float(known.mean()) if len(known) else None)
    low, high = clopper_pearson(hits, n)
    return HitRate(
        *rule,
        rise,
        *window,
        n=n,
        hits=hits,
        rate=rate,
        low=low,
        high=high,
        base_rate=base,
        difference=None if rate is None or base is None else rate - base,
        p=rotation_p(known.to_numpy(), chosen) if n else None,
        rotations=len(known),
        independent=len(known) // window[1],
    )


def article(name: str, first: str, last: str, dates: dict[Rule, pd.DatetimeIndex], as_of: pd.Timestamp) -> Article:
    """A period of the article, with the breakouts of the rules of 252 quiet sessions."""
    record, year_high = (
        [f"{day:%Y-%m-%d}" for day in dates[kind, BREAKOUT_RULE[1]] if day <= pd.Timestamp(last)] for kind in KINDS
    )
    records, year_highs = ([day for day in days if day >= first] for days in (record, year_high))
    return Article(name, first, last, pd.Timestamp(last) <= as_of, records, year_highs, record[-1] if record else None)


def breakout_lines(result: Breakouts) -> list[Line]:
    """Lines of the audit for both readings of the claim's first line."""
    return [
        with_verdict(
            f"breakout, {window_name(window)}",
            f"Altcoins rally by {RISE:.0%} or more {words} a Russell 2000 breakout.",
            "Hit rate less the base rate over all days; exact interval of the rate; p over rotations of the breakouts' pattern.",
            evidence(result, window),
        )
        for window, words in ((WITHIN, "within 90 days of"), (IN_WINDOW, "for the first time 30 to 90 days after"))
    ]


def evidence(result: Breakouts, window: tuple[int, int]) -> Evidence:
    """Evidence of the default rule and rise in one window."""
    key = (*BREAKOUT_RULE, RISE, *window)
    cell = next(row for row in result.grid if (row.kind, row.quiet, row.rise, row.first_day, row.last_day) == key)
    if cell.base_rate is None or cell.difference is None:
        return Evidence(cell.n, NEEDED, missing=result.missing or "no breakout has a known outcome")
    return Evidence(cell.n, NEEDED, cell.difference, cell.low - cell.base_rate, cell.high - cell.base_rate, cell.p)
