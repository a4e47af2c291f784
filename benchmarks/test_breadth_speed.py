"""Breadth of 2,000 names over 6,300 sessions, four measures, beside what a user would write: pandas, bottleneck, numba.

    python -m pytest benchmarks/test_breadth_speed.py

The four: share above the 50- and the 200-session mean, 252-session highs less lows, names that rose less those that fell. All ways
are checked against pandas before they are timed. "Two threads" is how a feature table is built, and numba's `prange`.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import bottleneck as bn
import numba
import numpy as np
import pandas as pd
import pytest

from features.breadth import above_mean, advances_less_declines, highs_less_lows

NAMES, SESSIONS = 2_000, 6_300
SHORT, LONG, YEAR = 50, 200, 252
Measures = list[np.ndarray]


@pytest.fixture(scope="module")
def price() -> pd.DataFrame:
    """Walks of small caps: sessions × names, laid out name by name as the store reads them; births, deaths and gaps."""
    rng = np.random.default_rng(1)
    cells = np.exp(rng.normal(0, 0.02, (NAMES, SESSIONS)).cumsum(axis=1))
    day = np.arange(SESSIONS)
    cells[(day < rng.integers(0, 3_000, (NAMES, 1))) | (day > rng.integers(4_000, 12_000, (NAMES, 1)))] = np.nan
    cells[rng.random(cells.shape) < 0.002] = np.nan
    days = pd.bdate_range("2000-01-03", periods=SESSIONS, name="observed")
    return pd.DataFrame(cells.T, days, [f"N{n:04}" for n in range(NAMES)], copy=False)


OURS: list[Callable[[pd.DataFrame], pd.Series]] = [
    lambda price: above_mean(price, SHORT),
    lambda price: above_mean(price, LONG),
    highs_less_lows,
    advances_less_declines,
]


def ours(price: pd.DataFrame) -> Measures:
    return [measure(price).to_numpy() for measure in OURS]


def ours_in_two_threads(price: pd.DataFrame) -> Measures:
    with ThreadPoolExecutor(2) as pool:
        return [found.to_numpy() for found in pool.map(lambda measure: measure(price), OURS)]


def with_pandas(price: pd.DataFrame) -> Measures:
    there, change = price.notna(), price.diff()
    means = [price.rolling(rows, min_periods=rows * 3 // 4).mean().where(there) for rows in (SHORT, LONG)]
    past = price.rolling(YEAR, min_periods=YEAR * 3 // 4)
    highest, lowest = past.max().where(there), past.min().where(there)
    shares = [(price > mean * (1 + 1e-9)).sum(axis=1) / known(mean.notna().sum(axis=1).to_numpy()) for mean in means]
    extremes = ((price >= highest).sum(axis=1) - (price <= lowest).sum(axis=1)) / known(highest.notna().sum(axis=1).to_numpy())
    net = ((change > 0).sum(axis=1) - (change < 0).sum(axis=1)) / known(change.notna().sum(axis=1).to_numpy())
    return [*(share.to_numpy() for share in shares), extremes.to_numpy(), monthly(net.to_numpy())]


def with_bottleneck(price: pd.DataFrame) -> Measures:
    values = price.to_numpy().T
    there, change = ~np.isnan(values), np.diff(values, axis=1, prepend=np.nan)
    means = [bn.move_mean(values, rows, rows * 3 // 4, axis=1) for rows in (SHORT, LONG)]
    highest, lowest = (move(values, YEAR, YEAR * 3 // 4, axis=1) for move in (bn.move_max, bn.move_min))
    shares = [(values > mean * (1 + 1e-9)).sum(axis=0) / known((there & ~np.isnan(mean)).sum(axis=0)) for mean in means]
    extremes = ((values >= highest).sum(axis=0) * 1.0 - (values <= lowest).sum(axis=0)) / known(
        (there & ~np.isnan(highest)).sum(axis=0)
    )
    net = ((change > 0).sum(axis=0) * 1.0 - (change < 0).sum(axis=0)) / known((~np.isnan(change)).sum(axis=0))
    return [*shares, extremes, monthly(net)]


def with_numba(price: pd.DataFrame) -> Measures:
    return finished(fused(np.ascontiguousarray(price.to_numpy().T)))


def with_numba_prange(price: pd.DataFrame) -> Measures:
    return finished(fused_in_parallel(np.ascontiguousarray(price.to_numpy().T)).sum(axis=0))


def finished(counts: np.ndarray) -> Measures:
    return [
        counts[0] / known(counts[1]),
        counts[2] / known(counts[3]),
        (counts[4] - counts[5]) / known(counts[6]),
        monthly((counts[7] - counts[8]) / known(counts[9])),
    ]


def known(names: np.ndarray) -> np.ndarray:
    return np.where(names >= 5, names, np.nan)


def monthly(net: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(net), np.nan, bn.move_mean(net, 21, 15))


@numba.njit
def count_means(values: np.ndarray, rows: int, counts: np.ndarray) -> None:
    """Running sum."""
    total, there = 0.0, 0
    for day in range(values.size):
        new = values[day]
        if day >= rows and not np.isnan(values[day - rows]):
            total -= values[day - rows]
            there -= 1
        if not np.isnan(new):
            total += new
            there += 1
            if there >= rows * 3 // 4:
                counts[0, day] += new > total / there * (1 + 1e-9)
                counts[1, day] += 1


@numba.njit
def front(queue: np.ndarray, ends: np.ndarray, values: np.ndarray, day: int, sign: int) -> float:
    """The highest (sign 1) or lowest (sign -1) of the year, by a monotone queue of days."""
    while ends[1] > ends[0] and sign * values[queue[ends[1] - 1]] <= sign * values[day]:
        ends[1] -= 1
    queue[ends[1]] = day
    ends[1] += 1
    while queue[ends[0]] <= day - YEAR:
        ends[0] += 1
    return values[queue[ends[0]]]


@numba.njit
def count_extremes_and_moves(values: np.ndarray, counts: np.ndarray, high: np.ndarray, low: np.ndarray) -> None:
    of_high, of_low, there = np.zeros(2, np.int64), np.zeros(2, np.int64), 0
    for day in range(values.size):
        new = values[day]
        there -= day >= YEAR and not np.isnan(values[day - YEAR])
        if np.isnan(new):
            continue
        there += 1
        highest, lowest = front(high, of_high, values, day, 1), front(low, of_low, values, day, -1)
        if there >= YEAR * 3 // 4:
            counts[0, day] += new == highest
            counts[1, day] += new == lowest
            counts[2, day] += 1
        if day > 0 and not np.isnan(values[day - 1]):
            counts[3, day] += new > values[day - 1]
            counts[4, day] += new < values[day - 1]
            counts[5, day] += 1


@numba.njit
def count_name(values: np.ndarray, counts: np.ndarray, high: np.ndarray, low: np.ndarray) -> None:
    count_means(values, SHORT, counts[0:2])
    count_means(values, LONG, counts[2:4])
    count_extremes_and_moves(values, counts[4:], high, low)


@numba.njit
def fused(price: np.ndarray) -> np.ndarray:
    counts = np.zeros((10, price.shape[1]), np.int64)
    high, low = np.empty(price.shape[1], np.int64), np.empty(price.shape[1], np.int64)
    for name in range(price.shape[0]):
        count_name(price[name], counts, high, low)
    return counts


@numba.njit(parallel=True)
def fused_in_parallel(price: np.ndarray) -> np.ndarray:
    parts = numba.get_num_threads()
    counts = np.zeros((parts, 10, price.shape[1]), np.int64)
    for part in numba.prange(parts):
        high, low = np.empty(price.shape[1], np.int64), np.empty(price.shape[1], np.int64)
        for name in range(part, price.shape[0], parts):
            count_name(price[name], counts[part], high, low)
    return counts


WAYS: dict[str, Callable[[pd.DataFrame], Measures]] = {
    "ours": ours,
    "ours, two threads": ours_in_two_threads,
    "numba fused": with_numba,
    "numba fused, prange": with_numba_prange,
    "bottleneck": with_bottleneck,
    "pandas": with_pandas,
}


@pytest.fixture(scope="module")
def expected(price: pd.DataFrame) -> Measures:
    return with_pandas(price)


@pytest.mark.benchmark(group="breadth, four measures of 2,000 names × 6,300 sessions")
@pytest.mark.parametrize("how", WAYS)
def test_breadth(benchmark: Callable[..., Any], price: pd.DataFrame, expected: Measures, how: str) -> None:
    found = benchmark.pedantic(WAYS[how], (price,), rounds=3 if how == "pandas" else 7, warmup_rounds=1)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)
