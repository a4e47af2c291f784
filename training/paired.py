"""Two forecasts of the same days: is one better, and how sure?"""

import numpy as np

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
