"""Common tests whose p-values are wrong for overlapping outcomes; the power study shows by how much."""

from collections.abc import Mapping, Sequence
from math import sqrt

import numpy as np
import pandas as pd
from scipy.stats import norm

from core.arrays import Floats
from evaluation.bootstrap import horizon_weeks
from evaluation.scores import auc
from models.coefficients import hazard_table


def slope_p_values(X: pd.DataFrame, events: pd.DataFrame, horizons: Sequence[int]) -> Mapping[str, float | None]:
    """Two-sided p of each slope of the hazard, Newey-West, on all rows; None where the table has no finite maximum.

    X (n, p), events (n, K) with NaN where not known.
    """
    known = events.dropna(how="all")
    try:
        p_values = hazard_table(X.loc[known.index], known.to_numpy(), horizons=horizons).coefficients["p_value"]
    except ValueError:
        return dict.fromkeys(map(str, X.columns))
    return {str(name): float(p_values[name]) for name in X.columns}


def smaller_loss_p(loss: Floats, reference: Floats, days: int) -> float:
    """One-sided p that `loss` (n,) is smaller than `reference` (n,) in the mean, Newey-West over the weeks of the outcome.

    Reference: Diebold and Mariano, "Comparing predictive accuracy", Journal of Business & Economic Statistics 13 (1995).
    """
    better = reference - loss
    return float(norm.sf(better.mean() / sqrt(newey_west_variance(better, horizon_weeks(days) - 1) / len(better))))


def newey_west_variance(values: Floats, lags: int) -> float:
    """Long-run variance of values (n,), Bartlett weights up to `lags`. Reference: Newey and West, Econometrica 55 (1987)."""
    centred = values - values.mean()
    weights = 1 - np.arange(lags + 1) / (lags + 1)
    weights[1:] *= 2
    sums = [centred[lag:] @ centred[: len(centred) - lag] for lag in range(lags + 1)]
    return float(weights @ np.array(sums)) / len(values)


def auc_p(probability: Floats, outcome: Floats) -> float:
    """One-sided p that the pooled AUC is above 0.5, as if the n rows were independent (Mann and Whitney 1947)."""
    events = outcome.sum()
    non_events = len(outcome) - events
    if not events or not non_events:
        return float("nan")
    return float(norm.sf((auc(probability, outcome) - 0.5) / sqrt((len(outcome) + 1) / (12 * events * non_events))))
