"""Whether one series moves before another: cross-correlations with bands from shifts, and a regression on lags (docs/audit.md)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.arrays import Floats
from evaluation.bootstrap import COVERAGE

MAX_LAG = 16  # weeks
OWN_BLOCKS = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 8), (9, 13))
DRIVER_BLOCKS = ((1, 4), (5, 8), (9, 13))
QUARTER = 13  # weeks: as far back as the regression looks
HAC_LAGS = 4
LEAST_WEEKS = 104


@dataclass(frozen=True)
class CrossCorrelation:
    """Correlation of a driver's week t with a target's week t + lag, for lags -16 to 16; at positive lags the driver is first.

    After circular shifts, 95 % of single correlations lie within ± `band`, and 95 % of the largest of all lags within `joint_band`.
    """

    weeks: int
    lags: list[int]
    correlation: list[float]
    band: float
    joint_band: float


def cross_correlation(driver: pd.Series, target: pd.Series) -> CrossCorrelation | None:
    """Cross-correlation of two weekly series on their common weeks, joined to a circle; None with fewer than `LEAST_WEEKS`."""
    pairs = pd.DataFrame({"x": driver, "y": target}).dropna()
    if len(pairs) < LEAST_WEEKS:
        return None
    correlation = circular_correlation(pairs["x"].to_numpy(), pairs["y"].to_numpy())
    lags = np.arange(-MAX_LAG, MAX_LAG + 1)
    far = np.arange(2 * MAX_LAG + 1, len(pairs) - 2 * MAX_LAG)  # rotations whose window of lags doesn't meet the true one
    largest = np.abs(correlation[(far[:, None] + lags) % len(pairs)]).max(axis=1)
    band, joint = float(np.quantile(np.abs(correlation[far]), COVERAGE)), float(np.quantile(largest, COVERAGE))
    return CrossCorrelation(len(pairs), lags.tolist(), correlation[lags].tolist(), band, joint)


def circular_correlation(x: Floats, y: Floats) -> Floats:
    """Correlation (n,) of x with y shifted in a circle by 0 … n-1 rows."""
    first, second = ((values - values.mean()) / values.std() for values in (x, y))
    return np.fft.irfft(np.conj(np.fft.rfft(first)) * np.fft.rfft(second), len(x)) / len(x)


@dataclass(frozen=True)
class LagTest:
    """Test whether a driver's past 13 weeks predict the target's next week beyond the target's own past.

    `f`, `p`: Wald test that the coefficients of the driver's three blocks of lags are zero. `effect`: standard deviations of its
    weekly change
    the target gains when the driver has risen by one of its 13-week changes, spread evenly; with its 95 % interval. `parts`: what
    each of `DRIVER_BLOCKS` adds to it.
    """

    weeks: int
    f: float
    p: float
    effect: float
    low: float
    high: float
    parts: list[float]


def lag_test(
    driver: pd.Series, target: pd.Series, start: pd.Timestamp | None = None, end: pd.Timestamp | None = None
) -> LagTest | None:
    """Regress weekly changes of `target` on lags of its own and of `driver`, in the weeks from `start` to before `end`.

    Both have the same weekly index. Lags enter as sums over blocks of weeks, as in Corsi (2009); errors are Newey-West (1987),
    the test is Granger's (1969). None with fewer than `LEAST_WEEKS` weeks, or where a column doesn't vary.
    """
    rows = lag_regressors(driver, target)
    rows = rows[(rows.index >= (start or rows.index.min())) & (rows.index < (end or pd.Timestamp.max))]
    if len(rows) < LEAST_WEEKS or (rows.std() == 0).any():
        return None
    return fit_lag_test(rows, driver.rolling(QUARTER).sum().reindex(rows.index).std())


def lag_regressors(driver: pd.Series, target: pd.Series) -> pd.DataFrame:
    """Regression table by week: `target`, then blocks of its own past, then blocks of the driver's past."""
    own_past = {f"own {first}-{last}": past_sum(target, first, last) for first, last in OWN_BLOCKS}
    driver_past = {f"driver {first}-{last}": past_sum(driver, first, last) for first, last in DRIVER_BLOCKS}
    return pd.DataFrame({"target": target, **own_past, **driver_past}).dropna()


def past_sum(changes: pd.Series, first: int, last: int) -> pd.Series:
    """Sum of the changes of `first` to `last` weeks before each week."""
    return changes.shift(first).rolling(last - first + 1).sum()


def fit_lag_test(rows: pd.DataFrame, driver_sd: float) -> LagTest:
    """Lag test on the table of `lag_regressors`; `driver_sd` is the standard deviation of the driver's 13-week change."""
    from statsmodels.api import OLS, add_constant

    inputs = add_constant(rows.drop(columns="target"))
    fit = OLS(rows["target"], inputs).fit(cov_type="HAC", cov_kwds={"maxlags": HAC_LAGS, "use_correction": True}, use_t=True)
    blocks = np.eye(inputs.shape[1])[-len(DRIVER_BLOCKS) :]
    wald = fit.wald_test(blocks, use_f=True, scalar=True)
    spread = np.array([last - first + 1 for first, last in DRIVER_BLOCKS]) / QUARTER * driver_sd / rows["target"].std()
    effect = fit.t_test(spread @ blocks)
    low, high = effect.conf_int(alpha=1 - COVERAGE)[0]
    parts = spread * fit.params.to_numpy()[-len(DRIVER_BLOCKS) :]
    return LagTest(
        len(rows), float(wald.statistic), float(wald.pvalue), float(parts.sum()), float(low), float(high), parts.tolist()
    )


def holm_p_values(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for multiple tests. Reference: Holm (1979)."""
    p = np.asarray(p_values)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(np.minimum(p[order] * np.arange(len(p), 0, -1), 1.0))
    corrected = np.empty(len(p))
    corrected[order] = stepped
    return [float(value) for value in corrected]
