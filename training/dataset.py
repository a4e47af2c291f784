"""Rows for training: inputs as known each Sunday, and outcomes of the altcoin index with the day each was known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.errors import MissingData
from core.target import KINDS, Target
from features.build import COMPOSITE_LOOKBACK, FeatureTable, matrix
from features.daily_table import daily_table
from features.targets import load_target_index
from sources.reader import Reader, observed
from sources.series import BTC, COIN_PRICE
from training.settings import TrainSettings


@dataclass(frozen=True)
class Outcomes:
    """Rows × horizons.

    `events` 0, 1 or NaN (not over by `until`, or the index is missing); `label_end` the last day the event could come; `known` the
    first day at whose end that was known (label_end + the index's release lag).
    """

    events: pd.DataFrame
    label_end: pd.DataFrame
    known: pd.DataFrame


def outcomes(
    index_level: pd.Series,
    rows: pd.DatetimeIndex,
    *,
    kind: str,
    threshold: float,
    horizons: Sequence[int],
    release_lag: pd.Timedelta,
    until: pd.Timestamp,
    benchmark: pd.Series | None = None,
) -> Outcomes:
    """Outcomes (n, K) of rows that stand at the end of the days `rows`.

    first_passage: the highest close of days t+1 … t+h is at least (1 + threshold) times the close of day t.
    terminal: the close of day t+h is. relative: the index has risen more than `benchmark` (BTC) from day t to t+h.
    A cell is NaN where label_end + release_lag is after `until` (even if the event has already occurred), or where a close it
    needs is missing: for first_passage any of days t to t+h, so that the selection of rows never depends on the outcome.
    index_level, benchmark: closes by observed day. Raises MissingData without the benchmark `relative` needs.
    """
    if kind == "relative":
        if benchmark is None or benchmark.dropna().empty:
            raise MissingData("The outcome `relative` needs BTC prices, and the store has none.")
        index_level = index_level / benchmark.reindex(index_level.index)
    level = by_day(index_level)
    label_end = pd.DataFrame({days: rows + pd.Timedelta(days=days) for days in horizons}, index=rows)
    known = label_end + release_lag
    events = pd.DataFrame({days: events_on(level, days, kind, threshold).reindex(rows) for days in horizons}, index=rows)
    return Outcomes(events=events.where(known <= until), label_end=label_end, known=known)


def week_after(index_level: pd.Series, rows: pd.DatetimeIndex, *, release_lag: pd.Timedelta, until: pd.Timestamp) -> pd.Series:
    """Log return (n,) from the close of day t+1 to that of day t+8; NaN where it isn't known by `until` or a close is missing."""
    level = np.log(by_day(index_level))
    after = (level.shift(-8) - level.shift(-1)).reindex(rows)
    return after.where(rows + pd.Timedelta(days=8) + release_lag <= until)


def events_on(level: pd.Series, days: int, kind: str, threshold: float) -> pd.Series:
    """1 where the event occurs within `days`, 0 where it doesn't, NaN where unknown, for each day of a daily level."""
    if kind not in KINDS:
        raise ValueError(f"The outcome must be one of {sorted(KINDS)}, not {kind!r}.")
    reached = level.shift(-days)
    if kind == "first_passage":  # the highest close of the next days, without today's; NaN if any of them is missing
        reached = level[::-1].rolling(days, min_periods=days).max()[::-1].shift(-1)
    rallied = reached > level if kind == "relative" else reached >= (1 + threshold) * level
    return rallied.astype(float).where(reached.notna() & level.notna())


def by_day(level: pd.Series) -> pd.Series:
    """The level on every calendar day; NaN where it is missing, 0 or negative."""
    days = pd.date_range(level.index.min(), level.index.max(), freq="D")
    return level.where(level > 0).reindex(days)


LEAST_INDEX = pd.Timedelta(days=3 * 365)


@dataclass(frozen=True)
class Dataset:
    """Sundays from `start` to `until`: inputs X (n, p), where a composite stands at 0 for want of data (`neutral`), and outcomes.

    `week_after` is the log return (n,) of the target over the week that begins a day later, NaN where it isn't known. `snapshot`
    names exactly what the store knew by the end of `until`. `features` is the daily table that the inputs are rows of.
    """

    X: pd.DataFrame
    neutral: pd.DataFrame
    outcomes: Outcomes
    week_after: pd.Series
    snapshot: str
    market: str
    until: pd.Timestamp
    features: FeatureTable


def prepare(store: Reader, settings: TrainSettings, until: pd.Timestamp) -> Dataset:
    """Inputs and outcomes for a training or a verification, as known at the end of `until`.

    Raises MissingData where the level asked about is absent or too short.
    """
    level = load_target_index(store, until, settings.target).level.dropna()
    require_index(level, settings.target, store, until)
    rows = pd.date_range(settings.start, until, freq="W-SUN")
    features = daily_table(store, until, settings.target, start=settings.start - COMPOSITE_LOOKBACK)
    inputs = matrix(features, rows)
    return Dataset(
        X=inputs.X,
        neutral=inputs.neutral,
        outcomes=index_outcomes(store, level, rows, settings.target, until),
        week_after=week_after(level, rows, release_lag=COIN_PRICE.release_lag, until=until),
        snapshot=store.snapshot(until),
        market=store.market or "unknown",
        until=until,
        features=features,
    )


def require_index(level: pd.Series, target: Target, store: Reader, until: pd.Timestamp) -> None:
    """Raise MissingData where the index is absent or shorter than 3 years."""
    subject = target.subject
    if level.empty:
        raise MissingData(
            f"train needs at least 3 years of the {subject}, and the store has {coins_held(store, until)}. Run `altrally fetch`."
        )
    first, last = level.index[0], level.index[-1]
    if last - first < LEAST_INDEX:
        raise MissingData(f"train needs at least 3 years of the {subject}; the store has {first:%Y-%m-%d} to {last:%Y-%m-%d}.")


def coins_held(store: Reader, until: pd.Timestamp) -> str:
    """Why there is no index of altcoins: the coins that are there, and what they lack."""
    altcoins = store.read_panel(COIN_PRICE, until).shape[1]
    if altcoins:
        return f"{altcoins} altcoins with neither market caps nor dollar volumes to choose the largest by"
    return "no coin prices" if bitcoin(store, until).empty else "bitcoin and no altcoin"


def index_outcomes(store: Reader, level: pd.Series, rows: pd.DatetimeIndex, target: Target, until: pd.Timestamp) -> Outcomes:
    """Outcomes of the target; each is known one release lag after its last day."""
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
