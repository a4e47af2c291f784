"""Scores of probability forecasts: bare maths on arrays. probability, outcome: (n,), outcomes 0 or 1 without gaps."""

import numpy as np
from scipy.stats import rankdata

from core.arrays import Floats

LEAST_PROBABILITY = 1e-6
"""The log score reads a probability nearer to 0 or 1 than this as this far away: a certain miss costs 13.8, not infinity."""


def brier_losses(probability: Floats, outcome: Floats) -> Floats:
    """Squared difference, row by row. Reference: Brier (1950)."""
    return (probability - outcome) ** 2


def brier_score(probability: Floats, outcome: Floats) -> float:
    """Mean squared difference, 0 the best."""
    return mean(brier_losses(probability, outcome))


def log_losses(probability: Floats, outcome: Floats) -> Floats:
    """−ln(probability given to what happened), row by row. Reference: Good (1952)."""
    clipped = np.clip(probability, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return np.asarray(-np.log(np.where(outcome == 1, clipped, 1 - clipped)))


def log_score(probability: Floats, outcome: Floats) -> float:
    """Mean −ln(probability given to what happened), 0 the best."""
    return mean(log_losses(probability, outcome))


def auc(probability: Floats, outcome: Floats) -> float:
    """Chance that an event was given more than a non-event, ties half; NaN where all outcomes are alike."""
    events = float(outcome.sum())
    non_events = len(outcome) - events
    if not events or not non_events:
        return float("nan")
    return float((rankdata(probability)[outcome == 1].sum() - events * (events + 1) / 2) / (events * non_events))


def mean(values: Floats) -> float:
    """Mean, NaN of nothing."""
    return float(values.mean()) if len(values) else float("nan")


def effective_sample_size(differences: Floats, horizon_days: int, row_days: int = 7) -> float:
    """Independent rows that n overlapping ones are worth: min(n·7/h, n / (1 + 2Σρ)).

    ρ are the autocorrelations of the loss differences (n,) up to the last lag before the first that isn't positive
    (Geyer 1992); differences that are all alike tell nothing, and n·7/h stands.
    """
    n = len(differences)
    windows = min(n, n * row_days / horizon_days)
    centred = differences - differences.mean() if n else differences
    if n < 2 or np.ptp(differences) == 0:
        return float(windows)
    correlations = np.correlate(centred, centred, mode="full")[n:] / (centred @ centred)
    turns = np.flatnonzero(correlations <= 0)
    positive = correlations[: turns[0]] if len(turns) else correlations
    return float(min(windows, n / (1 + 2 * positive.sum())))
