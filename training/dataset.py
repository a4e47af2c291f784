"""Rows to learn from: inputs as they were known each Sunday, and whether the rally came."""

from dataclasses import dataclass

import pandas as pd

from features.builder import COMPOSITE_LOOKBACK, build, matrix
from features.targets import load_target_index
from sources.errors import MissingData
from sources.reading import Reader, observed
from sources.series import BTC, COIN_PRICE
from sources.target import Target
from training.outcome import Outcomes, outcomes, week_after
from training.settings import TrainSettings

LEAST_INDEX = pd.Timedelta(days=3 * 365)


@dataclass(frozen=True)
class Dataset:
    """Sundays from `start` to `until`: inputs X (n, p), where a composite stands at 0 for want of data (`neutral`), and outcomes.

    `week_after` is the log return (n,) of the target over the week that begins a day later, NaN where it isn't known. `snapshot`
    names exactly what the store knew by the end of `until`.
    """

    X: pd.DataFrame
    neutral: pd.DataFrame
    outcomes: Outcomes
    week_after: pd.Series
    snapshot: str
    market: str
    until: pd.Timestamp


def prepare(store: Reader, settings: TrainSettings, until: pd.Timestamp) -> Dataset:
    """Everything a training or a verification reads, as known at the end of `until`.

    Raises MissingData where the level asked about is absent or too short.
    """
    level = load_target_index(store, until, settings.target).level.dropna()
    require_index(level, settings.target.subject)
    rows = pd.date_range(settings.start, until, freq="W-SUN")
    inputs = matrix(build(store, until, start=settings.start - COMPOSITE_LOOKBACK, target=settings.target), rows)
    return Dataset(
        X=inputs.X,
        neutral=inputs.neutral,
        outcomes=index_outcomes(store, level, rows, settings.target, until),
        week_after=week_after(level, rows, release_lag=COIN_PRICE.release_lag, until=until),
        snapshot=store.snapshot(until),
        market=store.market or "unknown",
        until=until,
    )


def require_index(level: pd.Series, subject: str) -> None:
    """Refuse an index too short to learn from."""
    if level.empty:
        raise MissingData(f"train needs at least 3 years of the {subject}, and the store has no coin prices. Run `altrally fetch`.")
    first, last = level.index[0], level.index[-1]
    if last - first < LEAST_INDEX:
        raise MissingData(f"train needs at least 3 years of the {subject}; the store has {first:%Y-%m-%d} to {last:%Y-%m-%d}.")


def index_outcomes(store: Reader, level: pd.Series, rows: pd.DatetimeIndex, target: Target, until: pd.Timestamp) -> Outcomes:
    """Outcomes of the target's level, known its release lag after they are over."""
    return outcomes(
        level,
        rows,
        kind=target.outcome,
        threshold=target.rise,
        horizons=target.horizons,
        release_lag=COIN_PRICE.release_lag,
        until=until,
        benchmark=bitcoin(store, until) if target.outcome == "relative" else None,
    )


def bitcoin(store: Reader, until: pd.Timestamp) -> pd.Series:
    """BTC closes by observed day, the latest version known."""
    return observed(store, BTC, until)
