"""The record: out-of-sample forecasts with their outcomes, reliability, and every model beside the baselines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.proportions import wilson
from evaluation.reliability import reliability_bins
from training.model_card import BASELINE_WORDS

WEEK = 7


@dataclass(frozen=True)
class History:
    """One horizon, week by week: forecast, climatology known then, and whether the event occurred (None: not over yet)."""

    days: int
    as_of: list[str]
    probability: list[float]
    climatology: list[float | None]
    event_occurred: list[bool | None]

    @property
    def judged(self) -> list[int]:
        """Positions of the weeks whose outcome is known."""
        return [week for week, occurred in enumerate(self.event_occurred) if occurred is not None]

    @property
    def share(self) -> float | None:
        """Share of judged weeks followed by the event; None without judged weeks."""
        return sum(bool(self.event_occurred[week]) for week in self.judged) / len(self.judged) if self.judged else None


@dataclass(frozen=True)
class Bin:
    """Forecasts of one tenth of the scale: their mean, the share followed by the event with its 90 % interval, and their number.

    The interval is Wilson's, for the number of weeks that don't overlap (n·7/days, at least 1).
    """

    probability: float
    share: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Record:
    """The champion's out-of-sample forecasts by horizon, and all models' verification rows (empty where none are kept)."""

    histories: dict[int, History]
    reliability: dict[int, list[Bin]]
    rows: list[dict[str, Any]]


def record(forecasts: pd.DataFrame, rows: Sequence[dict[str, Any]], as_of: pd.Timestamp, *, lag: pd.Timedelta) -> Record:
    """The record as known at the end of `as_of`.

    forecasts: as_of, horizon, probability, climatology, outcome; `lag`: days until an outcome that is over is known.
    """
    then = forecasts[forecasts["as_of"] <= as_of].copy()
    over = then["as_of"] + pd.to_timedelta(then["horizon"], unit="D") + lag <= as_of
    then["outcome"] = then["outcome"].where(over)
    horizons = sorted(int(days) for days in then["horizon"].unique())
    by_horizon = {days: then[then["horizon"] == days].sort_values("as_of") for days in horizons}
    return Record(
        histories={days: history(days, frame) for days, frame in by_horizon.items()},
        reliability={days: reliability(days, frame.dropna(subset=["outcome"])) for days, frame in by_horizon.items()},
        rows=list(rows),
    )


def history(days: int, frame: pd.DataFrame) -> History:
    """The history of one horizon; `frame`: its rows of the forecasts, by day."""
    return History(
        days=days,
        as_of=[f"{day:%Y-%m-%d}" for day in frame["as_of"]],
        probability=[float(p) for p in frame["probability"]],
        climatology=[None if np.isnan(p) else float(p) for p in frame["climatology"]],
        event_occurred=[None if np.isnan(outcome) else bool(outcome) for outcome in frame["outcome"]],
    )


def reliability(days: int, judged: pd.DataFrame) -> list[Bin]:
    """Reliability bins that hold any forecast, lowest first."""
    bins = reliability_bins(judged["probability"].to_numpy(), judged["outcome"].to_numpy())
    return [
        Bin(float(mean), float(share), *wilson(float(share), max(count * WEEK / days, 1.0)), int(count))
        for mean, share, count in bins[["probability", "share", "count"]].to_numpy()
    ]


def beats_every_baseline(row: dict[str, Any]) -> bool:
    """Whether the intervals against all baselines lie above zero. Alone it shows no skill: the best of N is biased upwards."""
    return all((row[f"skill_{name}"]["low"] or 0.0) > 0 for name in BASELINE_WORDS)
