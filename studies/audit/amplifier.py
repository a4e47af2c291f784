"""Line 4 of the claim: crypto amplifies, most after capitulation, when sellers are exhausted."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.arrays import Floats
from evaluation.bootstrap import Interval, circular_blocks, horizon_weeks, resampled_sums, widened_interval
from evaluation.permutation import circularly_shifted, shift_p
from features.transforms import log
from studies.audit.events import event_occurred, first_passage
from studies.audit.market_state import Facts
from studies.audit.verdicts import Evidence, Line, with_verdict
from training.null_tests import LOOKBACK_WEEKS

AHEAD = 60  # days
RISE = 0.30
QUARTER = 90  # days
DEEP = 0.50
LEAST_CAPITULATION_DAYS = 1
NEEDED = 0.10
"""Smallest log return in two months that the word "amplifier" could mean."""

STATES = ("breakout", "liquidity")
HOW = (
    f"Sundays. Breakout state: a record breakout of ^RUT in the past {QUARTER} days. Liquidity state: net liquidity has grown over "
    f"13 weeks. After capitulation: within the past {QUARTER} days the altcoin index closed at least {DEEP:.0%} below its highest "
    f"close of 252 days, and fell by 2 standard deviations on heavy volume on at least {LEAST_CAPITULATION_DAYS} day. Response: "
    f"log return of the index over the {AHEAD} days after. Interval by circular block bootstrap; p over rotations of responses "
    "against states."
)


@dataclass(frozen=True)
class Cell:
    """One combination of states: number of weeks, spells more than 60 days apart, mean response (log return), share of +30 %
    rallies."""

    positive: bool
    capitulation: bool
    weeks: int
    spells: int
    response: float | None
    rally: float | None


@dataclass(frozen=True)
class Difference:
    """Mean response in the positive state after capitulation less that in the positive state otherwise, with its 95 % interval."""

    state: str
    cells: list[Cell]
    difference: float | None
    low: float | None
    high: float | None
    p: float | None


@dataclass(frozen=True)
class Amplifier:
    """Result for line 4 of the claim: one difference per state."""

    how: str
    missing: str
    differences: list[Difference]


def amplifier(facts: Facts, *, seed: int, draws: int) -> Amplifier:
    """Difference of the response after capitulation and otherwise, for each state."""
    rows = sundays(facts)
    missing = "" if len(rows) else "no week has an altcoin index, its drawdown and what followed"
    return Amplifier(HOW, missing, [difference(rows, state, seed, draws) for state in STATES])


def sundays(facts: Facts) -> pd.DataFrame:
    """Sundays with a known response, a table: breakout, liquidity, capitulation (1, 0 or NaN), response, rally."""
    level, states = facts.index.level, facts.states
    ahead = pd.DataFrame(
        {"response": log(level.shift(-AHEAD) / level), "rally": event_occurred(first_passage(level, RISE, AHEAD), 1, AHEAD)}
    )
    deep = states["altcoin_drawdown"].rolling(QUARTER, min_periods=1).min() <= np.log(1 - DEEP)
    forced = states["capitulation_days"] >= LEAST_CAPITULATION_DAYS
    known = states[["altcoin_drawdown", "capitulation_days"]].notna().all(axis=1)
    marks = {
        "breakout": mark(states["days_since_breakout"] <= QUARTER, states["days_since_breakout"]),
        "liquidity": mark(states["net_liquidity_growth"] > 0, states["net_liquidity_growth"]),
        "capitulation": (deep & forced).astype(np.float64).where(known),
    }
    rows = pd.DataFrame(marks).join(ahead)
    return rows[pd.DatetimeIndex(rows.index).day_of_week == 6].dropna(subset=["capitulation", "response", "rally"])


def mark(holds: pd.Series, source: pd.Series) -> pd.Series:
    """1 where `holds`, 0 elsewhere, NaN where the source is missing."""
    return holds.astype(np.float64).where(source.notna())


def difference(rows: pd.DataFrame, state: str, seed: int, draws: int) -> Difference:
    """The four cells of one state, and the difference that the claim is about."""
    known = rows.dropna(subset=[state])
    cells = [cell(known, state, positive, after) for positive in (True, False) for after in (True, False)]
    if not cells[0].weeks or not cells[1].weeks:
        return Difference(state, cells, None, None, None, None)
    response = known["response"].to_numpy()
    after, otherwise = ((known[state] * part).to_numpy() for part in (known["capitulation"], 1 - known["capitulation"]))
    estimate = interval(response, after, otherwise, seed, draws)
    low, high = (None, None) if np.isnan(estimate.low) else (estimate.low, estimate.high)
    return Difference(state, cells, estimate.value, low, high, rotation_p(response, after, otherwise))


def cell(rows: pd.DataFrame, state: str, positive: bool, capitulation: bool) -> Cell:
    """Summary of the weeks in one combination of states."""
    within = rows[(rows[state] == positive) & (rows["capitulation"] == capitulation)]
    means = (None, None) if within.empty else (float(within["response"].mean()), float(within["rally"].mean()))
    return Cell(positive, capitulation, len(within), spells(pd.DatetimeIndex(within.index)), *means)


def spells(days: pd.DatetimeIndex) -> int:
    """Number of spells: groups of weeks more than 60 days apart, whose responses don't overlap."""
    return int((pd.Series(days).diff().dt.days > AHEAD).sum()) + 1 if len(days) else 0


def interval(response: Floats, after: Floats, otherwise: Floats, seed: int, draws: int) -> Interval:
    """Difference of the means over rows marked `after` and `otherwise`, all resampled together in blocks (n,)."""
    weights = after - otherwise
    resample = resampled_sums(response * weights, AHEAD, seed, draws, circular_blocks)
    value = float(response[after == 1].mean() - response[otherwise == 1].mean())
    if resample is None:
        return Interval(value, np.nan, np.nan)
    sums = [resample(part) for part in (response * after, after, response * otherwise, otherwise)]
    with np.errstate(invalid="ignore", divide="ignore"):
        resampled = sums[0] / sums[1] - sums[2] / sums[3]
    finite = resampled[np.isfinite(resampled)]  # a draw may hold no row of one kind
    return widened_interval(value, finite) if len(finite) else Interval(value, np.nan, np.nan)


def rotation_p(response: Floats, after: Floats, otherwise: Floats) -> float | None:
    """p-value of the difference over circular shifts of the responses; None where there are too few weeks to shift."""
    # A state depends on a quarter of drawdowns, and each of these on the lookback before it.
    nearest = horizon_weeks(AHEAD) + LOOKBACK_WEEKS + horizon_weeks(QUARTER)
    shifts = [0, *range(nearest, len(response) - horizon_weeks(AHEAD) + 1)]
    if len(shifts) < 2:
        return None
    shifted = circularly_shifted(response, shifts)
    differences = shifted @ after / after.sum() - shifted @ otherwise / otherwise.sum()
    return shift_p(differences)


def amplifier_lines(result: Amplifier) -> list[Line]:
    """One line of the audit per state."""
    words: Mapping[str, str] = {"breakout": "a small-cap breakout", "liquidity": "growing liquidity"}
    return [
        with_verdict(
            f"amplifier, {row.state}",
            f"Altcoins answer {words[row.state]} more strongly after capitulation than otherwise.",
            f"Difference of the mean {AHEAD}-day log return; block-bootstrap interval; p over rotations.",
            evidence(result, row),
        )
        for row in result.differences
    ]


def evidence(result: Amplifier, row: Difference) -> Evidence:
    """Evidence of one difference. Independent observations are the spells of the side that has fewer."""
    n = min(part.spells for part in row.cells if part.positive)
    if row.difference is None:
        return Evidence(n, NEEDED, missing=result.missing or f"no week of the {row.state} state on one of the sides")
    return Evidence(n, NEEDED, row.difference, row.low, row.high, row.p)
