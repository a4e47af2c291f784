"""Exact Shapley contributions of groups of inputs to the log-odds of a forecast."""

from collections.abc import Callable, Sequence
from math import factorial

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from core.arrays import Bools, Floats

CERTAIN = 1e-12


def shapley(
    predict: Callable[[Floats], Floats], x: Floats, reference: Floats, groups: Sequence[Sequence[int]], *, horizon: int
) -> Floats:
    """Log-odds (g,) that each group of columns adds to P at one horizon, on the way from `reference` to `x`.

    Args: predict: (m, p) -> (m, K); x and reference (p,); groups: column positions, each column in one; horizon: its position.
    The contributions add up to logit P(x) − logit P(reference): the mean over all orders in which groups can move from the one to
    the other. All 2^g mixtures are predicted in one call, so keep g small (6 blocks: 64 rows).

    Reference: Shapley, "A value for n-person games" (1953).
    """
    moved = coalitions(len(groups))
    mixtures = np.where(moved @ memberships(groups, len(x)), x, reference)
    log_odds = logit(np.clip(predict(mixtures)[:, horizon], CERTAIN, 1 - CERTAIN))
    without = np.arange(len(moved))
    return np.array([gain(log_odds, moved, without[~moved[:, g]], g) for g in range(len(groups))])


def gain(log_odds: Floats, moved: Bools, without: NDArray[np.intp], group: int) -> float:
    """Weighted mean of what one group adds to each coalition it isn't in."""
    size, g = moved[without].sum(axis=1), moved.shape[1]
    orders = np.array([factorial(s) * factorial(g - s - 1) / factorial(g) for s in range(g)])
    return float(orders[size] @ (log_odds[without + (1 << group)] - log_odds[without]))


def coalitions(groups: int) -> Bools:
    """Every subset of the groups (2^g, g); row r holds group j where bit j of r is set."""
    return (np.arange(1 << groups)[:, None] >> np.arange(groups)) & 1 == 1


def memberships(groups: Sequence[Sequence[int]], columns: int) -> Bools:
    """Which columns belong to each group (g, p); ValueError unless each column is in exactly one."""
    if sorted(column for group in groups for column in group) != list(range(columns)):
        raise ValueError(f"Each of {columns} columns must be in exactly one group, but the groups are {list(groups)}.")
    return np.array([[column in group for column in range(columns)] for group in groups])
