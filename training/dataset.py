"""Rows to learn from: inputs as they were known each Sunday, and whether the rally came."""

from dataclasses import dataclass

import pandas as pd

from features.builder import COMPOSITE_LOOKBACK, build, matrix
from features.index import load_index
from sources.errors import MissingData
from sources.reading import Reader
from sources.series import BTC, COIN_PRICE
from training.outcome import Outcomes, outcomes
from training.settings import TrainSettings

LEAST_INDEX = pd.Timedelta(days=3 * 365)


@dataclass(frozen=True)
class Dataset:
    """Sundays from `start` to `until`: inputs X (n, p), where a composite stands at 0 for want of data (`neutral`), and outcomes.

    `snapshot` names exactly what the store knew by the end of `until`.
    """

    X: pd.DataFrame
    neutral: pd.DataFrame
    outcomes: Outcomes
    snapshot: str
    market: str
    until: pd.Timestamp


def prepare(store: Reader, settings: TrainSettings, until: pd.Timestamp) -> Dataset:
    """Everything a training or a verification reads, as known at the end of `until`.

    Raises MissingData where the altcoin index is absent or too short.
    """
    level = load_index(store, until).level.dropna()
    require_index(level)
    rows = pd.date_range(settings.start, until, freq="W-SUN")
    inputs = matrix(build(store, until, start=settings.start - COMPOSITE_LOOKBACK), rows)
    return Dataset(
        X=inputs.X,
        neutral=inputs.neutral,
        outcomes=index_outcomes(store, level, rows, settings, until),
        snapshot=store.snapshot(until),
        market=store.market or "unknown",
        until=until,
    )


def require_index(level: pd.Series) -> None:
    """Refuse an index too short to learn from."""
    if level.empty:
        raise MissingData(
            "train needs at least 3 years of the altcoin index, and the store has no coin prices. Run `altrally fetch`."
        )
    first, last = level.index[0], level.index[-1]
    if last - first < LEAST_INDEX:
        raise MissingData(f"train needs at least 3 years of the altcoin index; the store has {first:%Y-%m-%d} to {last:%Y-%m-%d}.")


def index_outcomes(
    store: Reader, level: pd.Series, rows: pd.DatetimeIndex, settings: TrainSettings, until: pd.Timestamp
) -> Outcomes:
    """Outcomes of the altcoin index, known its release lag after they are over."""
    return outcomes(
        level,
        rows,
        kind=settings.outcome,
        threshold=settings.rise,
        horizons=settings.horizons,
        release_lag=COIN_PRICE.release_lag,
        until=until,
        benchmark=bitcoin(store, until) if settings.outcome == "relative" else None,
    )


def bitcoin(store: Reader, until: pd.Timestamp) -> pd.Series:
    """BTC closes by observed day, the latest version known."""
    versions = store.read(BTC, until)
    return versions.drop_duplicates("observed", keep="last").set_index("observed")["value"].sort_index()
