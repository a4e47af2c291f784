"""What a day's names did, counted or summed in one pass over their prices by compiled loops: nothing is laid out on the way.

Import it where it is used: numba takes half a second to load, and the first import on a machine compiles. Arrays are names × days,
NaN where missing; results are rows × days. Names are taken in order and a loop is done whole in one thread, while others may run.
"""

import pickle
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

from core.arrays import Bools, Floats

Counts = npt.NDArray[np.int32]
Kernel = TypeVar("Kernel", bound=Callable[..., object])

COUNTS, SUMS = numba.int32[:, ::1], numba.float64[:, ::1]
PANEL = numba.types.Array(numba.float64, 2, "C", readonly=True)  # pandas hands out arrays that can't be written to
ROWS = numba.int64
PART_OF_A_KERNEL = {"nogil": True, "error_model": "numpy"}

UNKEPT = (RuntimeError, OSError, EOFError, pickle.UnpicklingError)
"""No folder to keep machine code in, no room there, or what is kept there is damaged."""


def compiled(signature: Any) -> Callable[[Kernel], Kernel]:
    """Compile for one signature, and keep the machine code for the next process where that can be done."""

    def compile_(kernel: Kernel) -> Kernel:
        try:
            return numba.njit(signature, cache=True, **PART_OF_A_KERNEL)(kernel)
        except UNKEPT:
            return numba.njit(signature, **PART_OF_A_KERNEL)(kernel)

    return compile_


def part(kernel: Kernel) -> Kernel:
    """Compiled as a part of what calls it, and kept with that."""
    return numba.njit(**PART_OF_A_KERNEL)(kernel)


@part
def running_mean(values: Floats, rows: int, least: int, mean: Floats) -> None:
    """Fill `mean` with the mean of the last `rows` values, as `features.transforms.moving_mean` rounds it."""
    total, count = 0.0, 0
    for day in range(min(rows, values.size)):
        new = values[day]
        if not np.isnan(new):
            total += new
            count += 1
        mean[day] = total / count if count >= least and not np.isnan(new) else np.nan
    inverse = 1.0 / count
    for day in range(rows, values.size):
        new, old = values[day], values[day - rows]
        if np.isnan(new) != np.isnan(old):
            total += -old if np.isnan(new) else new
            count += -1 if np.isnan(new) else 1
            inverse = 1.0 / count
        elif not np.isnan(new):
            total += new - old
        mean[day] = total * inverse if count >= least and not np.isnan(new) else np.nan


@part
def mark_known(values: Floats, rows: int, least: int, known: Bools) -> None:
    """Mark days with a value, and `least` values in the last `rows`."""
    count = 0
    for day in range(values.size):
        count += not np.isnan(values[day])
        if day >= rows:
            count -= not np.isnan(values[day - rows])
        known[day] = count >= least and not np.isnan(values[day])


@part
def extremes_of_blocks(values: Floats, rows: int, until: Floats, since: Floats) -> None:
    """Highest and lowest from the start of each block of `rows` days to a day, and from a day to the end of its block."""
    for first in range(0, values.size, rows):
        last = min(first + rows, values.size) - 1
        high, low = -np.inf, np.inf
        for day in range(first, last + 1):
            high = values[day] if values[day] > high else high
            low = values[day] if values[day] < low else low
            until[0, day], until[1, day] = high, low
        high, low = -np.inf, np.inf
        for day in range(last, first - 1, -1):
            high = values[day] if values[day] > high else high
            low = values[day] if values[day] < low else low
            since[0, day], since[1, day] = high, low


@part
def moving_extremes(values: Floats, rows: int, extremes: Floats, since: Floats) -> None:
    """Fill `extremes` with the highest and lowest of the last `rows` values: two blocks meet in a window (van Herk 1992)."""
    extremes_of_blocks(values, rows, extremes, since)
    for day in range(rows, values.size):
        extremes[0, day] = max(extremes[0, day], since[0, day - rows + 1])
        extremes[1, day] = min(extremes[1, day], since[1, day - rows + 1])


@compiled(COUNTS(PANEL, ROWS, ROWS, numba.float64))
def names_above_mean(price: Floats, rows: int, least: int, equal: float) -> Counts:
    """Names above the mean of their last `rows` prices by more than `equal` of it, and names that have one."""
    counts = np.zeros((2, price.shape[1]), np.int32)
    mean = np.empty(price.shape[1])
    for name in range(price.shape[0]):
        values = price[name]
        running_mean(values, rows, least, mean)
        for day in range(mean.size):
            counts[0, day] += values[day] > mean[day] + equal * abs(mean[day])
            counts[1, day] += not np.isnan(mean[day])
    return counts


@compiled(COUNTS(PANEL, ROWS, ROWS))
def names_at_extremes(price: Floats, rows: int, least: int) -> Counts:
    """Names at the highest, and at the lowest, of their last `rows` prices, and names with `least` of them."""
    counts, days = np.zeros((3, price.shape[1]), np.int32), price.shape[1]
    extremes, since, known = np.empty((2, days)), np.empty((2, days)), np.empty(days, np.bool_)
    for name in range(price.shape[0]):
        values = price[name]
        mark_known(values, rows, least, known)
        moving_extremes(values, rows, extremes, since)
        for day in range(days):
            counts[0, day] += known[day] and values[day] >= extremes[0, day]
            counts[1, day] += known[day] and values[day] <= extremes[1, day]
            counts[2, day] += known[day]
    return counts


@compiled(COUNTS(PANEL))
def names_moved(price: Floats) -> Counts:
    """Names that rose and that fell since the row before, and names that quoted on both."""
    counts = np.zeros((3, price.shape[1]), np.int32)
    for name in range(price.shape[0]):
        values = price[name]
        for day in range(1, values.size):
            change = values[day] - values[day - 1]
            counts[0, day] += change > 0
            counts[1, day] += change < 0
            counts[2, day] += not np.isnan(change)
    return counts


@compiled(COUNTS(PANEL, PANEL, ROWS, ROWS, numba.float64))
def names_surging(price: Floats, shares: Floats, rows: int, least: int, surge: float) -> Counts:
    """Names that rose on `surge` times the mean of their last `rows` volumes or more, and names of which both are known."""
    counts = np.zeros((2, price.shape[1]), np.int32)
    typical = np.empty(price.shape[1])
    for name in range(price.shape[0]):
        running_mean(shares[name], rows, least, typical)
        for day in range(1, typical.size):
            change = price[name, day] - price[name, day - 1]
            counts[0, day] += change > 0 and shares[name, day] >= surge * typical[day]
            counts[1, day] += not np.isnan(change) and not np.isnan(typical[day])
    return counts


@compiled(SUMS(PANEL, PANEL))
def dollars_traded(price: Floats, shares: Floats) -> Floats:
    """Dollar volume of names that rose since the row before and of all that quoted on both, and the number of the latter."""
    sums = np.zeros((3, price.shape[1]))
    for name in range(price.shape[0]):
        for day in range(1, price.shape[1]):
            change = price[name, day] - price[name, day - 1]
            traded = price[name, day] * shares[name, day]
            if not np.isnan(change) and not np.isnan(traded):
                sums[0, day] += traded if change > 0 else 0.0
                sums[1, day] += traded
                sums[2, day] += 1
    return sums
