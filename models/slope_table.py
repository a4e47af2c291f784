"""What a passage learnt of its slopes, as a table people read: the prior beside the posterior."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from models.passage import Passage
from models.pool import EXPERTS, Pool

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
