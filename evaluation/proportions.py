"""Intervals of a share of trials: exact, or by Wilson's formula. Bare maths."""

from math import sqrt

from evaluation.bootstrap import COVERAGE

Z90 = 1.6448536269514722


def clopper_pearson(hits: float, n: float) -> tuple[float, float]:
    """Exact 95 % interval of the share of `hits` in `n` trials; `n` may be an effective number. (0, 1) of no trial.

    Reference: Clopper and Pearson, Biometrika 26 (1934).
    """
    from scipy.stats import beta

    tail = (1 - COVERAGE) / 2
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


def wilson(share: float, n: float) -> tuple[float, float]:
    """90 % interval of a share (0–1) of `n` independent trials. Reference: Wilson, "Probable inference", JASA 22 (1927)."""
    centre = (share + Z90**2 / (2 * n)) / (1 + Z90**2 / n)
    half = Z90 / (1 + Z90**2 / n) * sqrt(share * (1 - share) / n + Z90**2 / (4 * n**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)
