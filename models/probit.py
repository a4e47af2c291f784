"""Probit by maximum likelihood, one a horizon: how recessions are forecast."""

import warnings

import numpy as np
from scipy.special import ndtr, ndtri

from models.base import Floats, HorizonModel, base_rates
from models.logit import lines_a_horizon

CERTAIN = 1e-6


class Probit(HorizonModel):
    """P_k = Φ(a_k + x·b_k), fitted by statsmodels on the rows whose outcome by k is known.

    No prior holds the slopes back, which overlapping rows make look surer than they are: it is here because it is what the
    literature does, as something to beat. A horizon whose known outcomes are all alike gets their rate.
    Reference: Estrella and Mishkin, "Predicting U.S. recessions: financial variables as leading indicators", Review of Economics
    and Statistics 80 (1998).
    """

    def __init__(self, ordered: bool = True) -> None:
        self.ordered = ordered

    def _solve(self, inputs: Floats, outcomes: Floats, weights: Floats) -> Floats:
        return np.stack([np.concatenate([fitted(inputs, outcome, row) for outcome in outcomes.T]) for row in weights])

    def _answer(self, inputs: Floats, parameters: Floats) -> Floats:
        return ndtr(lines_a_horizon(inputs, parameters))


def fitted(inputs: Floats, outcome: Floats, weights: Floats) -> Floats:
    """Intercept and slopes (1 + p,) learnt from the rows whose outcome (n,) is known and whose weight (n,) isn't zero."""
    used = ~np.isnan(outcome) & (weights > 0)
    if len(np.unique(outcome[used])) < 2:
        rate = base_rates(outcome[:, None], weights[None])[0]
        return np.concatenate([ndtri(np.clip(rate, CERTAIN, 1 - CERTAIN)), np.zeros(inputs.shape[1])])
    return maximum_likelihood(np.column_stack([np.ones(used.sum()), inputs[used]]), outcome[used], weights[used])


def maximum_likelihood(design: Floats, outcome: Floats, weights: Floats) -> Floats:
    """Coefficients (q,) of a probit; separable outcomes, which have none, are left where the search stopped."""
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.families.links import Probit as Link
    from statsmodels.genmod.generalized_linear_model import GLM

    with warnings.catch_warnings():
        # All they say is that rows are few or separable: of a bootstrap draw that is no news.
        warnings.simplefilter("ignore")
        result = GLM(outcome, design, family=Binomial(Link()), freq_weights=weights).fit()
    return np.asarray(result.params)
