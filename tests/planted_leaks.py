"""Features as someone in a hurry might write them, each with a leak of its own. Loaded by the tests of `leakcheck`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from features.altcoin_index import ALTCOIN_INDEX
from features.registry import Derived, Feature, feature
from sources.series import COIN_PRICE, FINANCIAL_CONDITIONS, IWM, IWM_VOLUME, SPY, STOCK_PRICE


def hasty(*inputs: Any) -> Callable[[Callable[..., pd.Series]], Feature]:
    """A declaration in the registered way, the fields that don't matter here filled in."""
    return feature(*inputs, block="ladder", sign=0, unit="none", rationale="planted", lookback=None)  # type: ignore[return-value]


MONDAY = 0
KEPT: dict[str, pd.Series] = {}
SEEN = [0.0]
AT_ONCE = replace(COIN_PRICE, name="coin price at once", release_lag=pd.Timedelta(0))
FINAL = replace(FINANCIAL_CONDITIONS, revised=False)
DAY_EARLY = Derived("dated a day early", (IWM,), lambda close: close.set_axis(close.index - pd.Timedelta(days=1)), "USD", 0)


@hasty(SPY)
def leak_centred_window(close: pd.Series) -> pd.Series:
    """Mean of 21 sessions, ten of them still to come."""
    return close.rolling(21, center=True).mean()


@hasty(SPY)
def leak_next_session(close: pd.Series) -> pd.Series:
    """Tomorrow's close."""
    return close.shift(-1)


@hasty(SPY)
def leak_full_sample_z(close: pd.Series) -> pd.Series:
    """z-score by the mean and deviation of all days there will ever be."""
    return (close - close.mean()) / close.std()


@hasty(SPY)
def leak_filled_from_behind(close: pd.Series) -> pd.Series:
    """Mondays only, other days filled with the next one."""
    return close.where(close.index.day_of_week == MONDAY).bfill()


@hasty(SPY)
def leak_future_high(close: pd.Series) -> pd.Series:
    """Distance to the highest of the next 20 sessions."""
    return close / close[::-1].rolling(20, min_periods=1).max()[::-1]


@hasty(AT_ONCE)
def leak_release_lag_ignored(price: pd.DataFrame) -> pd.Series:
    """Coin prices declared as if known a day sooner than they are."""
    return price.mean(axis=1)


@hasty(SPY)
def leak_week_dated_at_its_beginning(close: pd.Series) -> pd.Series:
    """The week's last close under the label of its first day."""
    weekly = close.resample("W-SUN", label="left").last()
    return weekly.reindex(close.index, method="ffill")


@hasty(SPY)
def leak_quantile_over_all(close: pd.Series) -> pd.Series:
    """Above the upper decile of all days."""
    return (close > close.quantile(0.9)).astype(float) + close.quantile(0.9) * 1e-9


@hasty(SPY)
def leak_fitted_on_everything(close: pd.Series) -> pd.Series:
    """Distance from a trend line through past and future."""
    days = np.arange(len(close))
    return close - np.polyval(np.polyfit(days, close, 1), days)


@hasty(SPY)
def leak_normalised_by_the_last(close: pd.Series) -> pd.Series:
    """In units of the last close there is."""
    return close / close.iloc[-1]


@hasty(FINAL)
def leak_revised_as_if_final(conditions: pd.Series) -> pd.Series:
    """A series re-estimated every week, declared as if it weren't."""
    return conditions


@hasty(SPY, IWM)
def leak_joined_forward(large: pd.Series, small: pd.Series) -> pd.Series:
    """The next Monday's small caps beside today's large ones."""
    mondays = small[small.index.day_of_week == MONDAY].to_frame("small")
    joined = pd.merge_asof(large.to_frame("large"), mondays, left_index=True, right_index=True, direction="forward")
    return joined["large"] / joined["small"]


@hasty(SPY)
def leak_interpolated(close: pd.Series) -> pd.Series:
    """A line from each Monday to the next."""
    return close.where(close.index.day_of_week == MONDAY).interpolate()


@hasty(SPY)
def leak_mean_of_its_month(close: pd.Series) -> pd.Series:
    """Distance from the mean of the whole month."""
    return close / close.groupby(close.index.to_period("M")).transform("mean")


@hasty(SPY)
def leak_rank_over_all_days(close: pd.Series) -> pd.Series:
    """Rank among all days."""
    return close.rank(pct=True)


@hasty(SPY)
def leak_remembered(close: pd.Series) -> pd.Series:
    """Computed once, and handed out ever after."""
    return KEPT.setdefault("close", close).reindex(close.index)


@hasty(SPY)
def leak_highest_ever_seen(close: pd.Series) -> pd.Series:
    """Honest within a call; the highest close of earlier calls is kept in the module."""
    high = close.cummax().clip(lower=SEEN[0])
    SEEN[0] = max(SEEN[0], float(close.max()))
    return close / high


@hasty(SPY)
def leak_average_from_the_end(close: pd.Series) -> pd.Series:
    """Exponential average that begins with the last day."""
    return close[::-1].ewm(span=20).mean()[::-1]


@hasty(ALTCOIN_INDEX)
def leak_outcome_inside(level: pd.Series) -> pd.Series:
    """Whether the rally came."""
    return (level[::-1].rolling(60, min_periods=60).max()[::-1].shift(-1) >= 1.3 * level).astype(float)


@hasty(STOCK_PRICE)
def leak_survivors_only(price: pd.DataFrame) -> pd.Series:
    """Mean price of the names that still quote on the last day."""
    return price.loc[:, price.iloc[-1].notna()].mean(axis=1)


@hasty(DAY_EARLY)
def leak_close_before_the_close(close: pd.Series) -> pd.Series:
    """A close known the day before it was made."""
    return close


@hasty(SPY)
def leak_scaled_by_extremes(close: pd.Series) -> pd.Series:
    """Between the lowest and the highest of all days."""
    return (close - close.min()) / (close.max() - close.min())


@hasty(IWM_VOLUME)
def leak_share_of_the_years_volume(volume: pd.Series) -> pd.Series:
    """Of the whole year's volume, the share traded so far."""
    years = volume.index.year
    return volume.groupby(years).cumsum() / volume.groupby(years).transform("sum")


@hasty(SPY)
def leak_sessions_to_the_next_high(close: pd.Series) -> pd.Series:
    """How long until the next close above all before it."""
    highs = pd.Series(np.where(close >= close.cummax(), np.arange(len(close)), np.nan), close.index)
    return highs.bfill() - np.arange(len(close))
