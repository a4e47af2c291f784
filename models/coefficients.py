"""Coefficient tables for people: the hazard in statsmodels form, and a passage's slopes with the prior beside the posterior."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from core.arrays import Floats
from models.base import checked_outcomes
from models.hazard import at_risk, person_periods
from models.passage import Passage
from models.pool import EXPERTS, Pool

CAUTION = (
    "Logit of the hazard, log-odds per standard deviation; no ridge. Standard errors: Newey–West over weekly sums, {weeks} weeks.\n"
    "Overlapping outcomes make such tests reject too often (11 % at a nominal 5 % without any signal): read them as a description."
)


@dataclass(frozen=True)
class HazardTable:
    """`coefficients`: one row a term with coefficient, standard_error, z, p_value, low and high (95 %); see `text`.

    `rows` weekly rows gave `person_periods`; `incomplete` rows with a missing input took no part.
    """

    coefficients: pd.DataFrame
    rows: int
    person_periods: int
    incomplete: int
    weeks: int

    @property
    def text(self) -> str:
        """The table as people read it."""
        shown = self.coefficients.to_string(float_format=lambda value: f"{value:.3f}")
        counts = (
            f"{self.rows} weekly rows, {self.person_periods} person-periods, {self.incomplete} rows left out for a missing input."
        )
        return "\n".join([shown, counts, CAUTION.format(weeks=self.weeks)])


def hazard_table(X: pd.DataFrame, Y: Floats, *, horizons: Sequence[int] = (30, 60, 90)) -> HazardTable:
    """Maximum-likelihood hazard of rows X (n, p), in weekly order, with outcomes Y (n, K); intervals end at `horizons` days.

    The same person-period rows as `Hazard`, without its ridge. Raises ValueError where the outcomes are separable or no row is
    complete.
    Reference: Newey and West, "A simple, positive semi-definite … covariance matrix", Econometrica 55 (1987), on sums a week.
    """
    complete = X.notna().all(axis=1).to_numpy()
    scaled = X[complete] / X[complete].std(ddof=0).replace(0, 1)
    outcomes = checked_outcomes(np.asarray(Y)[complete], "The hazard table")
    rows, intervals = np.nonzero(at_risk(outcomes))
    design = pd.DataFrame(person_periods(scaled.to_numpy(), rows, intervals, len(horizons)), columns=terms(X, horizons))
    weeks = round(max(horizons) / 7)
    return HazardTable(
        estimate(design, outcomes[rows, intervals], rows, weeks), len(scaled), len(design), int((~complete).sum()), weeks
    )


def terms(X: pd.DataFrame, horizons: Sequence[int]) -> list[str]:
    """Names of the intercepts, by interval, then of the columns."""
    return [f"{begin}–{end} days" for begin, end in zip([0, *horizons], horizons, strict=False)] + [str(name) for name in X.columns]


def estimate(design: pd.DataFrame, events: Floats, week: np.ndarray, weeks: int) -> pd.DataFrame:
    """The coefficient table of a binomial model."""
    import statsmodels.api as sm
    from statsmodels.tools.sm_exceptions import PerfectSeparationError, PerfectSeparationWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", PerfectSeparationWarning)
        try:
            fit = sm.GLM(events, design, family=sm.families.Binomial()).fit(
                cov_type="hac-groupsum", cov_kwds={"time": week, "maxlags": weeks}
            )
        except (PerfectSeparationError, PerfectSeparationWarning) as error:
            raise ValueError("The inputs separate events from the rest: the coefficients have no finite maximum.") from error
    low, high = fit.conf_int().to_numpy().T
    columns = {
        "coefficient": fit.params,
        "standard_error": fit.bse,
        "z": fit.tvalues,
        "p_value": fit.pvalues,
        "low": low,
        "high": high,
    }
    return pd.DataFrame(columns, index=design.columns)


COVERAGE = 0.95
NOTE = (
    "Slopes are annual Sharpe ratios a unit of a composite: at 0.10, one standard deviation more adds 0.10 to the drift in units\n"
    "of volatility. The posterior is normal at its mode; about {overlap:.1f} weekly rows count as one. P(> 0) is the posterior's."
)


def slope_table(model: Passage, columns: Sequence[str]) -> pd.DataFrame:
    """One row a composite: prior mean and sd, then slope, standard error, 95 % limits and P(> 0) after seeing the data.

    columns: names of the composites, in the order of the model's own.
    """
    slope, error = model.coef_, np.sqrt(np.diag(model.coef_covariance_))
    reach = ndtri((1 + COVERAGE) / 2) * error
    table = {
        "prior_mean": np.full(len(slope), model.prior_mean),
        "prior_sd": np.full(len(slope), model.prior_sd),
        "slope": slope,
        "standard_error": error,
        "low": slope - reach,
        "high": slope + reach,
        "p_above_0": ndtr(slope / error),
    }
    return pd.DataFrame(table, index=list(columns))


def slope_text(model: Passage | Pool, columns: Sequence[str]) -> str:
    """The table of a passage, or of the one in a pool with the weights of the pool's experts. columns: names of the composites."""
    passage = model.passage_ if isinstance(model, Pool) else model
    shown = slope_table(passage, columns).to_string(float_format=lambda value: f"{value:.3f}")
    parts = [shown, NOTE.format(overlap=passage.overlap)]
    if isinstance(model, Pool):
        weights = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(EXPERTS, model.weights_, strict=True))
        parts.append(f"Weights of the experts: {weights}.")
    return "\n".join(parts)
