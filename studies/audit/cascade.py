"""Line 2 of the claim: the order liquidity, credit, stocks, small caps, altcoins. Weeks end on Sundays."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.altcoin_index import ALTCOIN_INDEX
from features.build import known_series
from features.liquidity import MILLION_A_BILLION
from features.transforms import day_numbers, forward_fill, log
from sources.series import FED_ASSETS, HY_SPREAD, IWM, REVERSE_REPO, SPY, TREASURY_ACCOUNT, Series
from studies.audit.lead_lag import QUARTER, CrossCorrelation, LagTest, cross_correlation, holm_p_values, lag_test
from studies.audit.market_state import Facts, latest
from studies.audit.verdicts import Evidence, Line, with_verdict

RUNGS = {
    "liquidity": "net liquidity",
    "credit": "high-yield credit",
    "stocks": "large stocks (SPY)",
    "small caps": "small caps over large (IWM/SPY)",
    "altcoins": "altcoins",
}
LINKS = (
    ("liquidity", "credit"),
    ("credit", "stocks"),
    ("stocks", "small caps"),
    ("small caps", "altcoins"),
    ("liquidity", "altcoins"),
)
SPLIT = pd.Timestamp("2021-01-01")
SPANS = {"all": (None, None), "before 2021": (None, SPLIT), "since 2021": (SPLIT, None)}
NEEDED = 0.10
"""Smallest effect, in weekly standard deviations: over 13 weeks it adds up to a third of the target's 13-week deviation."""

HOW = (
    "Weekly log changes (of the credit spread the change, sign turned). A driver counts as it was known on the Sunday, its target "
    "as it moved in the week after. Lag test: the target's week on its own past 13 weeks and on the driver's, in blocks of 1-4, "
    "5-8 and 9-13 weeks; Wald test of the driver's blocks with Newey-West errors, Holm-corrected over all links, directions and "
    "spans. Effect: what one standard deviation of the driver's 13-week change adds to the target's week, in its weekly standard "
    "deviations."
)


@dataclass(frozen=True)
class Link:
    """One lag test, in the direction of the claim (forward) or against it (reverse, the placebo)."""

    driver: str
    target: str
    direction: str
    span: str
    test: LagTest | None
    p_holm: float | None


@dataclass(frozen=True)
class LeadLag:
    """Cross-correlations of one claimed link."""

    driver: str
    target: str
    correlations: CrossCorrelation | None


@dataclass(frozen=True)
class Cascade:
    """Cross-correlations and lag tests of all links; `missing` holds by rung the reason why it has no weeks."""

    how: str
    missing: dict[str, str]
    lead_lag: list[LeadLag]
    tests: list[Link]


@dataclass(frozen=True)
class Weekly:
    """Weekly changes on Sundays × rungs: as `known` at the end of each Sunday, and as `observed` (NaN where not known yet)."""

    known: pd.DataFrame
    observed: pd.DataFrame


def cascade(facts: Facts) -> Cascade:
    """Cross-correlations and lag tests of all links, in both directions, with p-values corrected by Holm over all tests."""
    weeks = weekly_changes(facts)
    directed = [(a, b, "forward") for a, b in LINKS] + [(b, a, "reverse") for a, b in LINKS]
    links = [
        Link(driver, target, direction, span, lag_test(weeks.known[driver], weeks.observed[target], *SPANS[span]), None)
        for driver, target, direction in directed
        for span in SPANS
    ]
    p_holm = iter(holm_p_values([link.test.p for link in links if link.test is not None]))
    return Cascade(
        how=HOW,
        missing={rung: f"no weeks of {RUNGS[rung]}" for rung in RUNGS if weeks.observed[rung].isna().all()},
        lead_lag=[LeadLag(*link, cross_correlation(weeks.known[link[0]], weeks.observed[link[1]])) for link in LINKS],
        tests=[link if link.test is None else replace(link, p_holm=next(p_holm)) for link in links],
    )


def weekly_changes(facts: Facts) -> Weekly:
    """Changes of every rung from Sunday to Sunday, from the first observed day on."""
    first = min((rows["observed"].min() for rows in facts.rows.values() if len(rows)), default=facts.as_of)
    sundays = pd.date_range(first, facts.as_of, freq="W-SUN")
    known, observed = (pd.DataFrame(levels(facts, sundays, reading), sundays) for reading in (read_known, read_observed))
    return Weekly(known.diff(), observed.diff())


Reading = Callable[[Series, pd.DataFrame, pd.DatetimeIndex, pd.Timestamp], pd.Series]


def levels(facts: Facts, sundays: pd.DatetimeIndex, reading: Reading) -> dict[str, pd.Series]:
    """Level of each rung before differencing: logs, and the negative credit spread."""

    def of(series: Series) -> pd.Series:
        return reading(series, facts.rows[series], sundays, facts.as_of)

    stocks = log(of(SPY))
    return {
        "liquidity": log(of(FED_ASSETS) - of(TREASURY_ACCOUNT) - of(REVERSE_REPO) * MILLION_A_BILLION),
        "credit": -of(HY_SPREAD),
        "stocks": stocks,
        "small caps": log(of(IWM)) - stocks,
        "altcoins": log(altcoin_sundays(facts.index.level, sundays, reading)),
    }


def read_known(series: Series, rows: pd.DataFrame, sundays: pd.DatetimeIndex, as_of: pd.Timestamp) -> pd.Series:
    """The newest value known at the end of each Sunday."""
    known = known_series(series, rows)
    values = forward_fill(known.data.to_numpy(), day_numbers(known.data.index), known.until, day_numbers(sundays))
    return pd.Series(values, sundays)


def read_observed(series: Series, rows: pd.DataFrame, sundays: pd.DatetimeIndex, as_of: pd.Timestamp) -> pd.Series:
    """The last value observed by each Sunday; NaN where a later value could still be released."""
    values = latest(rows)
    since = day_numbers(values.index)
    until = since + (series.stale_after - series.release_lag).days
    filled = pd.Series(forward_fill(values.to_numpy(), since, until, day_numbers(sundays)), sundays)
    return filled.where(sundays <= as_of - series.release_lag)


def altcoin_sundays(level: pd.Series, sundays: pd.DatetimeIndex, reading: Reading) -> pd.Series:
    """The index on each Sunday, or, as known, one release lag before it; its gaps aren't filled."""
    lag = ALTCOIN_INDEX.release_lag if reading is read_known else pd.Timedelta(0)
    return pd.Series(level.reindex(sundays - lag).to_numpy(dtype=np.float64), sundays)


def cascade_lines(result: Cascade) -> list[Line]:
    """One line of the audit per claimed link."""
    return [
        with_verdict(
            f"{driver} → {target}",
            f"First {RUNGS[driver]}, then {RUNGS[target]}, the same way.",
            "Lag test on all weeks, Holm-corrected; effect of the driver's past 13 weeks; placebo: the same test turned around.",
            evidence(result, driver, target),
        )
        for driver, target in LINKS
    ]


def evidence(result: Cascade, driver: str, target: str) -> Evidence:
    """Evidence of a link over the whole span. Independent observations are spans of 13 weeks."""
    by_name = {(link.driver, link.target): link for link in result.tests if link.span == "all"}
    forward, reverse = by_name[driver, target], by_name[target, driver]
    if forward.test is None:
        reasons = [result.missing[rung] for rung in (driver, target) if rung in result.missing]
        return Evidence(0, NEEDED, missing="; ".join(reasons) or "too few weeks that both have")
    test = forward.test
    return Evidence(test.weeks // QUARTER, NEEDED, test.effect, test.low, test.high, forward.p_holm, reverse.p_holm)
