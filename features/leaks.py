"""Does the past change when the future does? The future spoilt, and what moved because of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.builder import Frames
from features.kernels import Floats
from sources.layout import LAGS
from sources.series import Panel, Series

REMOVED, ABSURD = KINDS = ("removed", "absurd")
"""What became known after a cut is taken away, or each number of it is multiplied by a random factor of its own, typically e^±3."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Moved:
    """The first day on or before a cut whose value differs, and by how much (None where it is missing on one side)."""

    day: pd.Timestamp
    by: float | None


def spoilt(frames: Frames, cut: pd.Timestamp, kind: str, seed: int) -> Frames:
    """`frames` with everything spoilt that became known after the end of `cut`; seeded, so that it can be repeated."""
    rng = np.random.default_rng(seed)
    return {source: _spoilt(source, frame, known_later(source, frame, cut), kind, rng) for source, frame in frames.items()}


def known_later(source: Series | Panel, frame: pd.DataFrame, cut: pd.Timestamp) -> Flags:
    """Rows of an input that became known after `cut`."""
    return np.asarray(days_known(source, frame) > cut)


def days_known(source: Series | Panel, frame: pd.DataFrame) -> pd.DatetimeIndex:
    """When each row became known: a panel's release lag is that of its universe, as data are stored by, whatever it declares."""
    return pd.DatetimeIndex(frame.index + LAGS[source.universe] if isinstance(source, Panel) else frame["known"])


def days_observed(source: Series | Panel, frame: pd.DataFrame) -> pd.DatetimeIndex:
    """The day each row describes."""
    return pd.DatetimeIndex(frame.index if isinstance(source, Panel) else frame["observed"])


def _spoilt(source: Series | Panel, frame: pd.DataFrame, later: Flags, kind: str, rng: np.random.Generator) -> pd.DataFrame:
    if kind == REMOVED:
        return frame[~later]
    if isinstance(source, Series):
        return frame.assign(value=absurd(frame["value"].to_numpy(dtype=np.float64), later, rng))
    return pd.DataFrame(absurd(frame.to_numpy(dtype=np.float64), later, rng), frame.index, frame.columns, copy=False)


def absurd(cells: Floats, later: Flags, rng: np.random.Generator) -> Floats:
    """A copy of `cells` whose rows marked `later` are each multiplied by a random factor."""
    changed = cells.copy(order="K")
    changed[later] *= np.exp(3.0 * rng.standard_normal(cells[later].shape))
    return changed


def moved(truth: pd.DataFrame, again: pd.DataFrame, cut: pd.Timestamp) -> Mapping[str, Moved]:
    """Columns of `truth` whose values up to `cut` aren't the same in `again`, bit for bit. Both: days × names, NaN equals NaN."""
    days, names = truth.loc[:cut].index, list(truth)
    before = truth.loc[:cut].to_numpy(dtype=np.float64)
    after = again[names].loc[:cut].to_numpy(dtype=np.float64)
    differs = (before.view(np.int64) != after.view(np.int64)) & ~(np.isnan(before) & np.isnan(after))
    gaps = np.abs(before - after)
    found = {}
    for column in np.flatnonzero(differs.any(axis=0)):
        row = int(differs[:, column].argmax())
        gap = float(gaps[row, column])
        found[str(names[column])] = Moved(pd.Timestamp(days[row]), gap if np.isfinite(gap) else None)
    return found
