"""A market of one walk: rows to train on without a store. Inputs know nothing of what comes, except by `signal`."""

import numpy as np
import pandas as pd

from features.build import FeatureTable
from features.crypto_state import blended_volatility
from models.catalog import COMPOSITES
from training.dataset import Dataset, Outcomes, outcomes, week_after
from training.settings import TrainSettings

LAG = pd.Timedelta(days=1)


def index_level(seed: int = 1, *, first: str = "2014-06-01", last: str = "2024-12-31") -> pd.Series:
    """Daily closes of a walk with fat tails and volatility that lives two months."""
    rng = np.random.default_rng(seed)
    days = pd.date_range(first, last)
    log_volatility = np.zeros(len(days))
    for day in range(1, len(days)):
        log_volatility[day] = 0.983 * log_volatility[day - 1] + 0.08 * rng.normal()
    returns = 0.035 * np.exp(log_volatility) * rng.standard_t(4, len(days)) / np.sqrt(2)
    return pd.Series(100 * np.exp(np.cumsum(returns)), days)


def inputs(level: pd.Series, rows: pd.DatetimeIndex, seed: int) -> pd.DataFrame:
    """Composites of noise that lives 20 weeks, and what the index showed by the day before."""
    rng = np.random.default_rng(seed + 1000)
    noise = rng.normal(size=(len(rows), len(COMPOSITES)))
    for row in range(1, len(rows)):
        noise[row] = 0.95 * noise[row - 1] + np.sqrt(1 - 0.95**2) * noise[row]
    logs = np.log(level)
    raw = {
        "altcoin_volatility": logs.diff().rolling(90).std(),
        "blended_volatility": blended_volatility(level),
        "altcoin_momentum": logs.diff(90),
        "rise_from_low": level / level.rolling(90).min() - 1,
        "altcoin_season": (logs.diff(90) > 0).astype(float).rolling(30).mean(),
    }
    seen = pd.DataFrame({name: column.shift(1).reindex(rows) for name, column in raw.items()})
    seen["days_since_breakout"] = np.arange(len(rows)) % 60 * 7.0
    return pd.concat([pd.DataFrame(noise, rows, columns=list(COMPOSITES)), seen], axis=1)


def small_market(settings: TrainSettings, *, seed: int = 1, until: str = "2024-12-31", signal: float = 0) -> Dataset:
    """Rows of Sundays from the start of `settings`; with `signal` the composites carry that much of the outcome itself."""
    level, end = index_level(seed), pd.Timestamp(until)
    rows = pd.date_range(settings.start, end, freq="W-SUN")
    made = made_outcomes(level, rows, settings, end)
    X = inputs(level, rows, seed)
    complete = made_outcomes(level, rows, settings, pd.Timestamp("2100-01-01")).events[60].fillna(0.5)
    X[list(COMPOSITES)] += signal * (complete.to_numpy()[:, None] - 0.5)
    neutral = pd.DataFrame(False, index=rows, columns=list(COMPOSITES))
    return Dataset(
        X=X,
        neutral=neutral,
        outcomes=made,
        week_after=week_after(level, rows, release_lag=LAG, until=end),
        snapshot=f"{seed:08x}{end:%Y%m%d}",
        market="simulated",
        until=end,
        features=FeatureTable(end, X, X),
    )


def made_outcomes(level: pd.Series, rows: pd.DatetimeIndex, settings: TrainSettings, until: pd.Timestamp) -> Outcomes:
    """Outcomes of the walk."""
    return outcomes(
        level,
        rows,
        kind=settings.outcome,
        threshold=settings.rise,
        horizons=settings.horizons,
        release_lag=LAG,
        until=until,
        benchmark=pd.Series(100.0, level.index) if settings.outcome == "relative" else None,
    )
