"""The readable table of the hazard: the same likelihood, honest standard errors."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from models.coefficients import CAUTION, hazard_table
from models.hazard import at_risk, person_periods
from models.ridge_newton import ridge_logit

COLUMNS = ["breadth", "liquidity"]


def sample(rows: int = 400, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.standard_normal((rows, 2)) * [1.0, 3.0], columns=COLUMNS)
    odds = np.array([-1.0, -1.5, -2.0]) + 0.8 * X["breadth"].to_numpy()[:, None]
    return X, np.maximum.accumulate(rng.uniform(size=(rows, 3)) < expit(odds), axis=1).astype(float)


def test_coefficients_are_the_maximum_likelihood_per_standard_deviation() -> None:
    X, Y = sample()
    table = hazard_table(X, Y).coefficients
    rows, intervals = np.nonzero(at_risk(Y))
    design = person_periods((X / X.std(ddof=0)).to_numpy(), rows, intervals, 3)
    ours = ridge_logit(design, Y[rows, intervals], np.ones((1, len(rows))), np.zeros(5))
    np.testing.assert_allclose(table["coefficient"], ours[0], atol=1e-7)


def test_a_planted_slope_is_told_from_none() -> None:
    table = hazard_table(*sample()).coefficients
    assert table.loc["breadth", "low"] > 0
    assert table.loc["liquidity", "low"] < 0 < table.loc["liquidity", "high"]


def test_columns_belong_together() -> None:
    table = hazard_table(*sample()).coefficients
    assert list(table.index) == ["0–30 days", "30–60 days", "60–90 days", *COLUMNS]
    np.testing.assert_allclose(table["z"], table["coefficient"] / table["standard_error"])
    np.testing.assert_allclose(table["high"] - table["coefficient"], 1.959964 * table["standard_error"], rtol=1e-6)


def test_standard_errors_are_newey_west_over_weekly_sums() -> None:
    """The sandwich by hand: scores summed a week, Bartlett weights over 13 weeks, inverse information on both sides."""
    X, Y = sample(rows=150)
    table = hazard_table(X, Y).coefficients
    rows, intervals = np.nonzero(at_risk(Y))
    design = person_periods((X / X.std(ddof=0)).to_numpy(), rows, intervals, 3)
    p = expit(design @ table["coefficient"].to_numpy())
    weekly = np.zeros((150, 5))
    np.add.at(weekly, rows, design * (Y[rows, intervals] - p)[:, None])
    meat = weekly.T @ weekly
    for lag in range(1, 14):
        both = weekly[lag:].T @ weekly[:-lag]
        meat += (1 - lag / 14) * (both + both.T)
    bread = np.linalg.inv((design * (p * (1 - p))[:, None]).T @ design)
    expected = np.sqrt(np.diag(bread @ meat @ bread))
    np.testing.assert_allclose(table["standard_error"], expected, rtol=0.02)  # statsmodels scales by its own small-sample factor


def test_overlapping_outcomes_widen_the_errors() -> None:
    """The same rows thirteen times over hold no more information: the errors hardly shrink, a naive logit's would by √13."""
    X, Y = sample(rows=100)
    once = hazard_table(X, Y).coefficients["standard_error"]
    repeated = hazard_table(X.loc[X.index.repeat(13)], np.repeat(Y, 13, axis=0)).coefficients["standard_error"]
    assert (repeated / once).loc["breadth"] > 0.6


def test_incomplete_rows_are_left_out_and_counted() -> None:
    X, Y = sample()
    X.iloc[:7, 0] = np.nan
    table = hazard_table(X, Y)
    assert (table.rows, table.incomplete) == (393, 7)
    assert table.person_periods == at_risk(Y[7:]).sum()
    pd.testing.assert_frame_equal(table.coefficients, hazard_table(X[7:], Y[7:]).coefficients)


def test_text_shows_every_term_and_its_caution() -> None:
    text = hazard_table(*sample()).text
    assert all(word in text for word in (*COLUMNS, "30–60 days", "standard_error", "400 weekly rows"))
    assert CAUTION.format(weeks=13) in text


def test_separable_outcomes_are_refused() -> None:
    X = pd.DataFrame({"breadth": np.linspace(-1, 1, 60)})
    Y = np.tile((X["breadth"].to_numpy() > 0)[:, None], (1, 3)).astype(float)
    with pytest.raises(ValueError, match="no finite maximum"):
        hazard_table(X, Y)
