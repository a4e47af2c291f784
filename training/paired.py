"""Two forecasts of the same days: is one better, and how sure?"""

import numpy as np
import pandas as pd

from training.bootstrap import Floats, weeks_of


def diebold_mariano_p(gain: Floats, horizon_days: int) -> float:
    """Two-sided p-value that the mean of loss differences (n,) is zero, with a HAC standard error over the weeks of the horizon.

    NaN where the differences are all alike. Overlap makes it too small: 11 % are below 5 % where nothing differs.
    References: Diebold and Mariano (1995); Newey and West (1987).
    """
    if len(gain) <= 2 * weeks_of(horizon_days) or np.ptp(gain) == 0:
        return float("nan")
    import statsmodels.api as sm

    lags = {"maxlags": weeks_of(horizon_days), "use_correction": True}
    return float(sm.OLS(gain, np.ones(len(gain))).fit(cov_type="HAC", cov_kwds=lags).pvalues[0])


def paired_null_p(mine: pd.DataFrame, theirs: pd.DataFrame, horizon_days: int) -> float:
    """How often a rotation of outcomes against inputs, both models refitted, gives me as large a lead in Brier score.

    mine, theirs: what each run scored on every rotation (null, shift, horizon, brier). NaN where they weren't rotated alike.
    """
    both = [on_rotations(table, horizon_days) for table in (mine, theirs)]
    if both[0].empty or not both[0].index.equals(both[1].index):
        return float("nan")
    lead = (both[1] - both[0]).to_numpy()
    return float((1 + (~(lead[1:] < lead[0])).sum()) / len(lead))


def on_rotations(rotations: pd.DataFrame, horizon_days: int) -> pd.Series:
    """Brier score by shift, the true dates (a shift of 0) first."""
    here = rotations[(rotations["null"] == "shift") & (rotations["horizon"] == horizon_days)]
    return here.set_index("shift")["brier"].sort_index()
