"""Backtest of a simple rule that follows the forecasts, at closes, after costs. An illustration only."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.arrays import Bools, Floats, Ints
from core.errors import MissingData
from core.json import plain
from evaluation.bootstrap import ROW_DAYS, Interval, band, resampling_blocks
from evaluation.comparison import YEAR_DAYS
from evaluation.permutation import circularly_shifted, shift_p

DEALING_DELAY = pd.Timedelta(days=1)
"""A decision at the end of one day is traded at the close of the next."""


@dataclass(frozen=True)
class Tape:
    """Closes from the first dealing day on: `days` (D + 1,), log returns (D,) of the index and of BTC, and the week (D,) of each.

    `dealt` (n,): positions of the dealing days. `carried`: number of days without a close, on which the previous close counts.
    """

    days: pd.DatetimeIndex
    index: Floats
    bitcoin: Floats
    week: Ints
    dealt: Ints
    carried: int


def tape_of(decided: pd.DatetimeIndex, index_level: pd.Series, bitcoin: pd.Series) -> Tape:
    """Closes (by observed day) for decisions at the end of the days `decided`; those not followed by a close are left out.

    Raises MissingData where none is left, or the first dealing day has no close.
    """
    closes = pd.DataFrame({"index": index_level, "bitcoin": bitcoin})
    last = closes.dropna().index.max()
    dealing = (decided + DEALING_DELAY)[decided + DEALING_DELAY < last]
    if not len(dealing):
        raise MissingData("No forecast is followed by a close of both the altcoin index and BTC: there is nothing to follow.")
    closes = closes.reindex(pd.date_range(dealing[0], last, freq="D"))
    if closes.iloc[0].isna().any():
        raise MissingData(f"The altcoin index or BTC has no close on {dealing[0]:%Y-%m-%d}, the first day to deal on.")
    days, returns = pd.DatetimeIndex(closes.index), np.diff(np.log(closes.ffill().to_numpy()), axis=0)
    week = np.searchsorted(dealing, days[:-1], side="right") - 1
    return Tape(days, returns[:, 0], returns[:, 1], week, days.get_indexer(dealing), int(closes.isna().any(axis=1).sum()))


@dataclass(frozen=True)
class Path:
    """Result of S rules: share in altcoins (S, n) by week, log wealth (S, D + 1) from 0, and amount dealt (S, n) as a share of
    wealth.

    `cost` is the cost of dealing as a share of the amount.
    """

    altcoins: Floats
    log_wealth: Floats
    dealt: Floats
    cost: float

    def growth(self) -> Floats:
        """Compound growth a year (S,)."""
        return np.asarray(np.expm1(self.log_wealth[:, -1] * YEAR_DAYS / (self.log_wealth.shape[1] - 1)))

    def maximum_drawdown(self) -> Floats:
        """Worst fall from a previous high (S,), as a share; the initial wealth counts as a high."""
        highs = np.maximum.accumulate(np.maximum(self.log_wealth, 0), axis=1)
        return np.asarray(-np.expm1((self.log_wealth - highs).min(axis=1)))

    def total_cost(self) -> Floats:
        """Share of wealth (S,) lost to trading costs in all."""
        return np.asarray(-np.expm1(self.dealt.sum(axis=1) * np.log1p(-self.cost)))


def path_of(tape: Tape, altcoins: Floats, bitcoin: Floats, cost: float) -> Path:
    """Path of a portfolio with shares (S, n) of altcoins and BTC by week; the rest, and the start, is cash without interest.

    cost: share of what is bought or sold, each way.
    """
    dealt = traded_shares(altcoins) + traded_shares(bitcoin)
    change = np.zeros((len(altcoins), len(tape.days)))
    change[:, tape.dealt] = dealt * np.log1p(-cost)
    change[:, 1:] += altcoins[:, tape.week] * tape.index + bitcoin[:, tape.week] * tape.bitcoin
    return Path(altcoins, np.cumsum(change, axis=1), dealt, cost)


def traded_shares(shares: Floats) -> Floats:
    """Shares bought or sold (S, n) each week to hold `shares`, starting from 0."""
    return np.asarray(np.abs(np.diff(shares, axis=1, prepend=0.0)))


COST = 0.005
LEAST_SHIFT = 13
LEVELS = (0.05, 0.95)
RULE, RULE_BITCOIN = "rule, else cash", "rule, else BTC"
INDEX, BITCOIN = "altcoins throughout", "BTC throughout"
CAVEAT = (
    "An illustration, not a result: after dealing costs, before taxes; how little altcoins can be dealt in at their close, "
    "and what it costs to reshuffle the index each month, are ignored."
)


@dataclass(frozen=True)
class Record:
    """Result of a holding; shares are 0–1.

    `wealth` is what 1 became, `growth` compound a year, `maximum_drawdown` the worst fall from a high by daily closes, `volatility`
    of daily log returns a year, `exposure` the share of days in altcoins, `turnover` the amount bought and sold a year as a
    multiple
    of wealth, `costs` the share of wealth lost to dealing costs.
    """

    name: str
    wealth: float
    growth: float
    maximum_drawdown: float
    volatility: float
    exposure: float
    switches: int
    turnover: float
    costs: float


@dataclass(frozen=True)
class Lead:
    """Log growth a year of a rule less that of `against`, with a 95 % interval."""

    rule: str
    against: str
    log_growth: Interval


@dataclass(frozen=True)
class Timing:
    """Growth a year of a rule, compared with its decisions shifted in a circle by 13 weeks or more.

    `p` = (1 + shifts with at least this growth) / (1 + shifts), about `independent` of them independent; `mean`, `low` and `high`
    are
    the mean and 5 to 95 % range over shifts. `drawdown_p` is the p-value of the worst fall.
    """

    rule: str
    growth: float
    p: float
    mean: float
    low: float
    high: float
    drawdown_p: float
    shifts: int
    independent: int


@dataclass(frozen=True)
class Following:
    """Backtest of both variants of the rule, compared with buy-and-hold and with shifted decisions.

    `curves`: wealth on dealing days × names. `inside`: whether the rule holds altcoins, by Sunday of the decision. `carried`: days
    without a close. `trials`: configurations tried on these years, this model included.
    """

    market: str
    model: str
    horizon: int
    first: pd.Timestamp
    last: pd.Timestamp
    cost: float
    trials: int
    carried: int
    records: list[Record]
    leads: list[Lead]
    timings: list[Timing]
    curves: pd.DataFrame
    inside: pd.Series

    @property
    def sentence(self) -> str:
        """Sentence with the result of each holding and its significance."""
        grown = "; ".join(
            f"{record.name} {record.growth:+.0%} (worst fall {record.maximum_drawdown:.0%})" for record in self.records
        )
        market = "Simulated market. " if self.market == "simulated" else ""
        return (
            f"{market}From {self.first:%Y-%m} to {self.last:%Y-%m}, by forecasts of {self.model}, at {self.cost:.1%} for each "
            f"purchase and sale, growth a year: {grown}. {self.worth} {CAVEAT} "
            f"The model is one of {self.trials} configurations tried on these years, and the rule has two variants."
        )

    @property
    def worth(self) -> str:
        """Sentences on the lead of the first variant over altcoins, and its p-value among shifted decisions."""
        lead, timing = self.leads[0], self.timings[0]
        return (
            f"The lead of {lead.rule!r} over {lead.against} is {interval_text(lead.log_growth)} in log growth a year; "
            f"among {timing.shifts} other timings of the same weeks, about {timing.independent} of them independent, "
            f"p = {timing.p:.2f} for as much growth."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dicts, curves by week."""
        weeks = [{"day": day, **row} for day, row in zip(self.curves.index, self.curves.to_dict("records"), strict=True)]
        inside = [{"decided": day, "inside": bool(is_inside)} for day, is_inside in self.inside.items()]
        parts = {name: [asdict(part) for part in getattr(self, name)] for name in ("records", "leads", "timings")}
        return plain({**vars(self), **parts, "curves": weeks, "inside": inside, "sentence": self.sentence})


def interval_text(interval: Interval) -> str:
    """Text with a value, its limits, and whether zero lies within them."""
    if np.isnan(interval.low):
        return f"{interval.value:+.2f} (too few weeks for an interval)"
    apart = "zero lies outside" if interval.low > 0 or interval.high < 0 else "zero lies inside"
    return f"{interval.value:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}; {apart}]"


def following(
    probability: pd.Series,
    base_rate: pd.Series,
    index_level: pd.Series,
    bitcoin: pd.Series,
    *,
    model: str,
    market: str,
    horizon: int,
    trials: int,
    seed: int,
    cost: float = COST,
) -> Following:
    """Backtest of the rule on out-of-sample forecasts and base rates (by Sunday), dealt at closes (by observed day).

    cost: share of what is bought or sold, each way. Raises MissingData where no forecast is followed by closes.
    """
    inside = probability > base_rate.reindex(probability.index)
    tape = tape_of(pd.DatetimeIndex(inside.index), index_level, bitcoin)
    inside = inside.iloc[: len(tape.dealt)]
    always, never = np.ones((1, len(inside))), np.zeros((1, len(inside)))
    shares = {rule: variant(rule, inside.to_numpy()[None]) for rule in (RULE, RULE_BITCOIN)}
    shares |= {INDEX: (always, never), BITCOIN: (never, always)}
    paths = {name: path_of(tape, altcoins, bitcoins, cost) for name, (altcoins, bitcoins) in shares.items()}
    return Following(
        market=market,
        model=model,
        horizon=horizon,
        first=tape.days[0],
        last=tape.days[-1],
        cost=cost,
        trials=trials,
        carried=tape.carried,
        records=[record(name, path, tape) for name, path in paths.items()],
        leads=[lead(rule, other, paths, tape, horizon, seed) for rule in (RULE, RULE_BITCOIN) for other in (INDEX, BITCOIN)],
        timings=[timing(rule, inside.to_numpy(), tape, cost) for rule in (RULE, RULE_BITCOIN)],
        curves=pd.DataFrame({name: np.exp(path.log_wealth[0]) for name, path in paths.items()}, tape.days).iloc[tape.dealt],
        inside=inside,
    )


def variant(rule: str, inside: Bools) -> tuple[Floats, Floats]:
    """Shares in altcoins and in BTC of one variant of the rule, in the shape of the decisions."""
    altcoins = inside.astype(np.float64)
    return altcoins, (1 - altcoins if rule == RULE_BITCOIN else np.zeros_like(altcoins))


def record(name: str, path: Path, tape: Tape) -> Record:
    """Summary of a path with a single portfolio."""
    altcoins, log_wealth = path.altcoins[0], path.log_wealth[0]
    return Record(
        name=name,
        wealth=float(np.exp(log_wealth[-1])),
        growth=float(path.growth()[0]),
        maximum_drawdown=float(path.maximum_drawdown()[0]),
        volatility=float(np.diff(log_wealth).std() * np.sqrt(YEAR_DAYS)),
        exposure=float(altcoins[tape.week].mean()),
        switches=int(np.abs(np.diff(altcoins)).sum()),
        turnover=float(path.dealt.sum() * YEAR_DAYS / len(tape.week)),
        costs=float(path.total_cost()[0]),
    )


def lead(rule: str, other: str, paths: Mapping[str, Path], tape: Tape, horizon: int, seed: int) -> Lead:
    """Lead of a rule over buy-and-hold, with an interval from weeks resampled in blocks at least as long as the horizon."""
    ahead = paths[rule].log_wealth[0, tape.dealt] - paths[other].log_wealth[0, tape.dealt]
    weekly = np.diff(ahead)[:, None] * YEAR_DAYS / ROW_DAYS
    rows = max(len(weekly), 1)
    estimate = band(weekly.sum(axis=0) / rows, resampling_blocks(weekly[:, 0], horizon, seed).sums(weekly) / rows)
    return Lead(rule, other, Interval(*(float(limit[0]) for limit in (estimate.value, estimate.low, estimate.high))))


def timing(rule: str, inside: Bools, tape: Tape, cost: float) -> Timing:
    """Growth of a variant compared with its own decisions (n,) shifted in a circle; NaN where there are too few weeks."""
    shifts = range(LEAST_SHIFT, len(inside) - LEAST_SHIFT + 1)
    rotated = circularly_shifted(inside, (0, *shifts))
    path = path_of(tape, *variant(rule, rotated), cost)
    growth, fall = path.growth(), path.maximum_drawdown()
    shifted = growth[1:] if len(shifts) else np.full(1, np.nan)
    low, high = np.quantile(shifted, LEVELS)
    return Timing(
        rule=rule,
        growth=float(growth[0]),
        p=shift_p(growth),
        mean=float(shifted.mean()),
        low=float(low),
        high=float(high),
        drawdown_p=shift_p(-fall),
        shifts=len(shifts),
        independent=len(inside) // LEAST_SHIFT,
    )
