"""Short functions on daily data. They only look back, and a value missing today stays missing today."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import bottleneck as bn
import numpy as np
import numpy.typing as npt
import pandas as pd

from core.arrays import Floats, Ints

DayNumbers = Ints
Data = TypeVar("Data", pd.Series, pd.DataFrame)

LEAST_NAMES = 5
CELLS_A_BLOCK = 800_000  # a formula's arrays then stay in the processor's cache
LARGE = 4_000_000  # cells: below, loading compiled loops takes longer than they save
REACH_BACK = 10  # days: a week, and a holiday or a storm
EQUAL = 1e-9  # of a price: below this a difference may be rounding


def day_numbers(days: pd.Index) -> DayNumbers:
    """Days since 1970-01-01."""
    return days.to_numpy().astype("datetime64[D]").astype(np.int64)


def forward_fill(values: Floats, since: DayNumbers, until: DayNumbers, days: DayNumbers) -> Floats:
    """Last value known on each of `days`; NaN after the last day `until` which it may be used. `since` ascends."""
    position = np.searchsorted(since, days, side="right") - 1
    usable = position >= 0
    usable[usable] = days[usable] <= until[position[usable]]
    result = np.full(len(days), np.nan)
    result[usable] = values[position[usable]]
    return result


def earlier(series: pd.Series, days: int) -> pd.Series:
    """The value `days` calendar days before, or the last one up to `REACH_BACK` days older."""
    known = series.dropna()
    since = day_numbers(known.index)
    before = forward_fill(known.to_numpy(), since, since + REACH_BACK, day_numbers(series.index) - days)
    return pd.Series(before, series.index)


def log(data: Data) -> Data:
    """Natural logarithm; NaN of what isn't positive."""
    values = data.to_numpy(dtype=np.float64)
    logs = np.full_like(values, np.nan)
    np.log(values, out=logs, where=values > 0)
    return _like(data, logs)


def change(series: pd.Series, *, weeks: int) -> pd.Series:
    """Difference from the value `weeks` before."""
    return series - earlier(series, 7 * weeks)


def log_change(series: pd.Series, *, weeks: int) -> pd.Series:
    """Log difference from the value `weeks` before; NaN where one isn't positive."""
    return change(log(series), weeks=weeks)


def log_return(data: Data) -> Data:
    """Log difference from the row before."""
    return log(data).diff()


def moving_mean(data: Data, rows: int, *, least: int) -> Data:
    """Mean of the last `rows` rows, at least `least` of which must be present. A running sum, so future rows never change it."""
    return _moving(bn.move_mean, data, rows, least)


def moving_sd(data: Data, rows: int, *, least: int) -> Data:
    """Standard deviation (n − 1) of the last `rows` rows."""
    return _moving(bn.move_std, data, rows, least, ddof=1)


def moving_max(data: Data, rows: int, *, least: int) -> Data:
    """Highest of the last `rows` rows, including today's."""
    return _moving(bn.move_max, data, rows, least)


def moving_min(data: Data, rows: int, *, least: int) -> Data:
    """Lowest of the last `rows` rows, including today's."""
    return _moving(bn.move_min, data, rows, least)


def _moving(kernel: Callable[..., Floats], data: Data, rows: int, least: int, **options: Any) -> Data:
    if len(data) < least:
        return data * np.nan
    values = data.to_numpy(dtype=np.float64).T  # one symbol's days lie side by side in memory
    moved = kernel(values, window=min(rows, len(data)), min_count=least, axis=-1, **options)
    moved[np.isnan(values)] = np.nan
    return _like(data, moved.T)


def _like(data: Data, values: Floats) -> Data:
    if isinstance(data, pd.Series):
        return pd.Series(values, data.index)
    return pd.DataFrame(values, data.index, data.columns, copy=False)


def fill_gaps(frame: pd.DataFrame, *, rows: int) -> pd.DataFrame:
    """The frame with gaps of at most `rows` rows filled by the value before."""
    return _like(frame, bn.push(frame.to_numpy(dtype=np.float64).T, n=rows, axis=-1).T)


def align_to(frame: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """`frame` on the days and symbols of `other`; NaN where it has none."""
    return frame.reindex(index=other.index, columns=other.columns)


def column_chunks(frames: tuple[pd.DataFrame, ...]) -> Iterator[tuple[pd.DataFrame, ...]]:
    """Chunks of columns, the same columns of each frame (days × the same symbols)."""
    rows, names = frames[0].shape
    chunk = max(1, CELLS_A_BLOCK // max(rows, 1))
    for first in range(0, max(names, 1), chunk):
        yield tuple(frame.iloc[:, first : first + chunk] for frame in frames)


def count_in_chunks(
    counts: Callable[..., tuple[pd.Series, ...]], compiled: Callable[..., npt.NDArray[Any]], *frames: pd.DataFrame
) -> list[pd.Series]:
    """Sums of `counts` over chunks of names. They are whole numbers, so the result doesn't depend on the order.

    For a large panel `compiled` computes the same from arrays, as in `features.numba_kernels`.
    """
    if frames[0].size >= LARGE:
        return compiled_counts(compiled, *frames)
    parts = [counts(*part_frames) for part_frames in column_chunks(frames)]
    return [sum(part[1:], start=part[0]) for part in zip(*parts, strict=True)]


def compiled_counts(compiled: Callable[..., npt.NDArray[Any]], *frames: pd.DataFrame) -> list[pd.Series]:
    """Result of a compiled loop on `frames` of the same days and names: one Series per row."""
    arrays = [np.ascontiguousarray(frame.to_numpy(dtype=np.float64).T) for frame in frames]
    return [pd.Series(row, frames[0].index, dtype=np.float64) for row in compiled(*arrays)]


def map_in_chunks(formula: Callable[..., pd.DataFrame], *frames: pd.DataFrame) -> pd.DataFrame:
    """`formula` applied to chunks of names and joined. It must work on each name by itself."""
    return pd.concat([formula(*part_frames) for part_frames in column_chunks(frames)], axis=1)


def share(holds: pd.DataFrame, of: pd.DataFrame) -> pd.Series:
    """Share (0–1) of the names marked in `of` that are marked in `holds`; NaN with fewer than `LEAST_NAMES`. Both boolean."""
    return count(holds).divide(at_least(count(of)))


def count(marked: pd.DataFrame) -> pd.Series:
    """Number of marked names per day."""
    return pd.Series(marked.to_numpy().T.sum(axis=0, dtype=np.int32), marked.index).astype(np.float64)


def total(frame: pd.DataFrame) -> pd.Series:
    """Sum across names without missing values; 0 where all are missing."""
    return pd.Series(bn.nansum(frame.to_numpy(dtype=np.float64), axis=1), frame.index)


def at_least(names: pd.Series) -> pd.Series:
    """Counts of at least `LEAST_NAMES`; NaN below."""
    return names.where(names >= LEAST_NAMES)


def is_above(price: pd.DataFrame, level: pd.DataFrame) -> pd.DataFrame:
    """Whether each price is above its level by more than rounding."""
    return price > level + EQUAL * level.abs()


def cross_sectional_median(frame: pd.DataFrame) -> pd.Series:
    """Median across names; NaN with fewer than `LEAST_NAMES`."""
    if frame.empty:
        return pd.Series(np.nan, frame.index)
    medians = pd.Series(bn.nanmedian(frame.to_numpy(), axis=1), frame.index)
    return medians.where(count(frame.notna()) >= LEAST_NAMES)
