"""Line 5 of the claim: in a "supercycle" rallies last, pullbacks are absorbed, capital rotates, and not all altcoins rise."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from core.arrays import Bools, Floats
from evaluation.proportions import clopper_pearson
from evaluation.scores import effective_sample_size
from features.altcoin_index import month_ends
from features.transforms import log
from sources.reader import CARRY, latest_values
from studies.audit.events import Rally, rallies
from studies.audit.market_state import Facts
from studies.audit.verdicts import Evidence, Line, with_verdict

RISE = FALL = 0.30
LOW_DAYS = 90
LEAST_COINS = 12  # a quarter of them is three
NEEDED = 0.40
"""Smallest effect, a percentile less a half: only a value in the top tenth of its past would be a new regime."""

HOW = (
    f"Rally: begins at the lowest close of {LOW_DAYS} days once the altcoin index stands {RISE:.0%} above it, ends with the "
    f"first close {FALL:.0%} below its highest. Pullback: deepest fall from the highest close so far, on the way up. Rising coins: "
    "of those held at the low, the share dearer at the high. Turnover: of the best quarter of a month's coins, the share that was "
    "not in the best quarter a month before (0.75 by chance). Dispersion: interquartile range of the coins' monthly log returns."
)


@dataclass(frozen=True)
class ListedRally:
    """One rally; `end` is None while it lasts. `rising_coins`: share of the `coins` held at its low whose price was higher at its
    high."""

    low: str
    high: str
    end: str | None
    days: int
    rise: float
    pullback: float
    coins: int
    rising_coins: float | None


@dataclass(frozen=True)
class Month:
    """Measures of one month: rank correlation of the coins' returns with those of the month before, turnover, dispersion."""

    end: str
    rank_correlation: float | None
    turnover: float | None
    dispersion: float | None


@dataclass(frozen=True)
class Measure:
    """The latest value of one measure within its own past.

    `side`: +1 where the claim expects it high, -1 low. `percentile`: share of the `n` past values less far on the claim's side,
    ties counting half, with an exact 95 % interval for the `n_effective` values they are worth.
    """

    name: str
    side: int
    day: str | None
    value: float | None
    n: int
    n_effective: float
    percentile: float | None
    low: float | None
    high: float | None
    p: float | None


@dataclass(frozen=True)
class Supercycle:
    """Every rally, every month, and where the latest of each measure stands."""

    how: str
    missing: str
    rallies: list[ListedRally]
    months: list[Month]
    measures: list[Measure]


CLAIMS = {
    "rally length": "Rallies last longer.",
    "pullback": "Pullbacks are absorbed.",
    "turnover": "Capital rotates between coins.",
    "dispersion": "Coins differ more from each other.",
    "rising coins": "Not all altcoins rise.",
}


def supercycle(facts: Facts) -> Supercycle:
    """Rallies, months and measures of the altcoin index."""
    weights = facts.index.members.pivot_table(index="month_end", columns="symbol", values="weight")
    listed_rallies = [
        listed_rally(rally, weights, facts.prices) for rally in rallies(facts.index.level, rise=RISE, fall=FALL, low_days=LOW_DAYS)
    ]
    ends = month_ends(facts.prices.index)
    returns = log(latest_values(facts.prices, ends)).diff().to_numpy()
    bought = weights.reindex(index=ends, columns=facts.prices.columns).notna().to_numpy()
    # The first month with a return and a ranking before it is the third month end.
    months = [month(ends[row], returns[row - 1 : row + 1], bought[row - 2 : row]) for row in range(2, len(ends))]
    missing = "" if len(facts.index.level) else "the store holds no coin prices"
    return Supercycle(HOW, missing, listed_rallies, months, measures(listed_rallies, months))


def listed_rally(rally: Rally, weights: pd.DataFrame, prices: pd.DataFrame) -> ListedRally:
    """A rally with the share of coins that rose in it."""
    coins = weights.loc[: rally.low].iloc[-1].dropna().index
    span = prices.loc[rally.low - pd.Timedelta(days=CARRY) : rally.high, coins].ffill()
    before, after = span.loc[: rally.low].iloc[-1], span.iloc[-1]
    quoted = int(before.notna().sum())
    return ListedRally(
        low=f"{rally.low:%Y-%m-%d}",
        high=f"{rally.high:%Y-%m-%d}",
        end=None if rally.end is None else f"{rally.end:%Y-%m-%d}",
        days=rally.days,
        rise=rally.rise,
        pullback=rally.pullback,
        coins=quoted,
        rising_coins=float((after > before).sum() / quoted) if quoted else None,
    )


def month(end: pd.Timestamp, returns: Floats, bought: Bools) -> Month:
    """Measures of a month. Both (2, coins): returns of the month before and of this one, coins bought at the begin of each."""
    latest, pair = returns[1, bought[1]], returns[:, bought[0]]
    latest, pair = latest[np.isfinite(latest)], pair[:, np.isfinite(pair).all(axis=0)]
    enough = pair.shape[1] >= LEAST_COINS
    return Month(
        end=f"{end:%Y-%m-%d}",
        rank_correlation=float(np.corrcoef(rankdata(pair, axis=1))[0, 1]) if enough else None,
        turnover=turnover(*pair) if enough else None,
        dispersion=float(np.subtract(*np.quantile(latest, [0.75, 0.25]))) if len(latest) >= LEAST_COINS else None,
    )


def turnover(before: Floats, after: Floats) -> float:
    """Of the best quarter of coins (n,) after, the share that wasn't in the best quarter before."""
    quarter = len(before) // 4
    best_before, best_after = (set(np.argsort(-values, kind="stable")[:quarter]) for values in (before, after))
    return len(best_after - best_before) / quarter


def measures(listed_rallies: list[ListedRally], months: list[Month]) -> list[Measure]:
    """Latest value of each measure within its own past. An ongoing rally counts with its values so far."""
    rally_days, month_days = [rally.low for rally in listed_rallies], [row.end for row in months]
    return [
        measure("rally length", 1, rally_days, [rally.days for rally in listed_rallies]),
        measure("pullback", 1, rally_days, [rally.pullback for rally in listed_rallies]),
        measure("turnover", 1, month_days, [row.turnover for row in months]),
        measure("dispersion", 1, month_days, [row.dispersion for row in months]),
        measure("rising coins", -1, rally_days, [rally.rising_coins for rally in listed_rallies]),
    ]


def measure(name: str, side: int, days: list[str], values: list[float] | list[float | None] | list[int]) -> Measure:
    """Percentile of the latest value within all before it."""
    known = [(day, float(value)) for day, value in zip(days, values, strict=True) if value is not None]
    if len(known) < 2:
        return Measure(name, side, None, None, 0, 0.0, None, None, None, None)
    day, last = known[-1]
    past, latest = side * np.array([value for _, value in known[:-1]]), side * last
    percentile = float((past < latest).mean() + (past == latest).mean() / 2)
    effective = effective_sample_size(past, 1, row_days=1)
    low, high = clopper_pearson(percentile * effective, effective)
    p = float((1 + (past >= latest).sum()) / (1 + len(past)))
    return Measure(name, side, day, last, len(past), effective, percentile, low, high, p)


def supercycle_lines(result: Supercycle) -> list[Line]:
    """One line of the audit per measure."""
    return [
        with_verdict(
            f"supercycle, {row.name}",
            CLAIMS[row.name],
            "Percentile of the latest value in its own past, less a half; exact interval; p of its rank.",
            evidence(result, row),
        )
        for row in result.measures
    ]


def evidence(result: Supercycle, row: Measure) -> Evidence:
    """Evidence of one measure. Independent observations are the effective number of past values."""
    if row.percentile is None or row.low is None or row.high is None:
        return Evidence(row.n, NEEDED, missing=result.missing or "fewer than two values")
    return Evidence(int(row.n_effective), NEEDED, row.percentile - 0.5, row.low - 0.5, row.high - 0.5, row.p)
