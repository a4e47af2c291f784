"""Two forecasts of the same days: the Diebold-Mariano p, the lead week by week, and the skill that could have been detected."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from core.arrays import Floats
from core.json import plain
from evaluation.bootstrap import (
    BAND_DRAWS,
    COVERAGE,
    ROW_DAYS,
    WIDENING,
    block_length,
    block_starts,
    horizon_weeks,
    resampling_blocks,
)
from evaluation.sample import EvaluationSample


def diebold_mariano_p(gain: Floats, horizon_days: int) -> float:
    """Two-sided p-value that the mean of loss differences (n,) is zero, with a HAC standard error over the weeks of the horizon.

    NaN where the differences are all alike. Overlap makes it too small: 11 % are below 5 % where nothing differs.
    References: Diebold and Mariano (1995); Newey and West (1987).
    """
    if len(gain) <= 2 * horizon_weeks(horizon_days) or np.ptp(gain) == 0:
        return float("nan")
    import statsmodels.api as sm

    lags = {"maxlags": horizon_weeks(horizon_days), "use_correction": True}
    return float(sm.OLS(gain, np.ones(len(gain))).fit(cov_type="HAC", cov_kwds=lags).pvalues[0])


CUMULATIVE_DRAWS = 1_000


@dataclass(frozen=True)
class CumulativeLead:
    """Brier loss of `other` minus that of `model`, summed up to each day (n,). It rises where the model is better.

    `low`, `high` (n,): range of 95 % of such sums at each day if neither were better; NaN where there are too few rows.
    """

    model: str
    other: str
    horizon: int
    days: pd.DatetimeIndex
    lead: Floats
    low: Floats
    high: Floats

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        return plain(asdict(self))


def cumulative_lead(
    sample: EvaluationSample, model: str, other: str, *, seed: int, draws: int = CUMULATIVE_DRAWS
) -> CumulativeLead:
    """Cumulative Brier lead of a model over another, with the limits expected if neither were better."""
    better = sample.loss(other) - sample.loss(model)
    low, high = null_limits(better, sample.horizon, seed, draws)
    return CumulativeLead(model, other, sample.horizon, sample.days, np.cumsum(better), low, high)


def null_limits(better: Floats, horizon_days: int, seed: int, draws: int) -> tuple[Floats, Floats]:
    """Limits (n,) of cumulative sums of resampled differences (n,) minus their mean, widened as every interval is."""
    n, block = len(better), block_length(better, horizon_days)
    if n < 2 * block:
        return np.full(n, np.nan), np.full(n, np.nan)
    starts = block_starts(n, block, draws, np.random.default_rng(seed))
    rows = ((starts[:, :, None] + np.arange(block)) % n).reshape(draws, -1)[:, :n]
    sums = np.cumsum((better - better.mean())[rows], axis=1)
    low, high = WIDENING * np.quantile(sums, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2], axis=0)
    return low, high


CHANCE = 0.80
SMALL_SKILL = 0.05
YEAR_DAYS = 365.25


@dataclass(frozen=True)
class DetectableEffect:
    """The effect that a sample of this length and dependence can detect; NaN where rows are too few or losses are equal.

    `minimum_detectable_effect`: the true skill whose interval would lie above zero in 80 % of such samples. `years_for_0_05`: the
    years of such rows that would bring it down to a skill of +0.05.
    """

    minimum_detectable_effect: float
    years_for_0_05: float


def minimum_detectable_effect(
    loss: Floats, reference: Floats, horizon_days: int, *, seed: int, draws: int = BAND_DRAWS
) -> DetectableEffect:
    """The smallest skill 1 − Σ loss / Σ reference that losses (n,) can detect, and the years needed for a skill of 0.05.

    The smallest skill is (z₀.₉₇₅ + z₀.₈₀)·`WIDENING`·s. The estimate is taken as normal. s, its standard deviation over
    block-bootstrap draws, is too small by as much as the interval's limits are, and falls with the root of the years.
    """
    resampling = resampling_blocks(reference - loss, horizon_days, seed, draws)
    loss_sums, reference_sums = resampling.sums(np.column_stack([loss, reference])).T
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = float(np.std(1 - loss_sums / reference_sums))
    effect = float(norm.ppf((1 + COVERAGE) / 2) + norm.ppf(CHANCE)) * WIDENING * spread or np.nan
    years = len(loss) * ROW_DAYS / YEAR_DAYS
    return DetectableEffect(effect, years * (effect / SMALL_SKILL) ** 2)
