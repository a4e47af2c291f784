"""Circular shifts: how often do rows that are moved round a circle against each other show as much as the true rows? Bare maths."""

from collections.abc import Iterable

import numpy as np

from core.arrays import Floats


def circularly_shifted(values: np.ndarray, shifts: Iterable[int]) -> np.ndarray:
    """Copies (S, n, …) of `values` (n, …), each with its rows moved `shift` rows later; the last rows come round to the front."""
    return np.stack([np.roll(values, shift, axis=0) for shift in shifts])


def shift_p(statistics: Floats) -> float:
    """Share of the shifts whose statistic (S,) is at least that of the first, the true position, which counts as one of them."""
    return float(np.mean(statistics >= statistics[0]))
