"""Perturbed inputs of features: data that became known after a cut are removed or scaled, and the changed columns are found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.arrays import Bools, Floats
from features.build import MARGIN, Frames
from features.registry import Feature
from sources.layout import LAGS
from sources.series import Panel, Series

REMOVED, ABSURD = KINDS = ("removed", "absurd")
"""Data known after a cut are removed, or each of their numbers is multiplied by its own random factor, typically e^±3."""

NAMES = 300
"""Most names (columns) of a panel that a check of the catalogue reads; own features read all of them."""


@dataclass(frozen=True)
class Difference:
    """The first day up to a cut whose value differs, and the difference (None where one of the values is missing)."""

    day: pd.Timestamp
    by: float | None


def spoil(frames: Frames, cut: pd.Timestamp, kind: str, seed: int) -> Frames:
    """The frames, with all data that became known after the end of `cut` removed or randomly scaled, depending on `kind`."""
    rng, spoilt = np.random.default_rng(seed), {}
    for source, frame in frames.items():
        later = np.asarray(days_known(source, frame) > cut)
        if kind == REMOVED:
            spoilt[source] = frame[~later]
        elif isinstance(source, Series):
            spoilt[source] = frame.assign(value=randomly_scaled(frame["value"].to_numpy(dtype=np.float64), later, rng))
        else:
            scaled = randomly_scaled(frame.to_numpy(dtype=np.float64), later, rng)
            spoilt[source] = pd.DataFrame(scaled, frame.index, frame.columns, copy=False)
    return spoilt


def days_known(source: Series | Panel, frame: pd.DataFrame) -> pd.DatetimeIndex:
    """The day on which each row became known. For a panel the release lag of its universe counts, whatever the panel declares."""
    return pd.DatetimeIndex(frame.index + LAGS[source.universe] if isinstance(source, Panel) else frame["known"])


def randomly_scaled(cells: Floats, later: Bools, rng: np.random.Generator) -> Floats:
    """A copy of `cells` in which each number of the rows marked `later` is multiplied by a random factor."""
    changed = cells.copy(order="K")
    changed[later] *= np.exp(3.0 * rng.standard_normal(cells[later].shape))
    return changed


def differing_columns(truth: pd.DataFrame, again: pd.DataFrame, cut: pd.Timestamp) -> Mapping[str, Difference]:
    """Columns whose values up to `cut` differ between `truth` and `again` (days × names), bit for bit; NaN equals NaN."""
    days, names = truth.loc[:cut].index, list(truth)
    before = truth.loc[:cut].to_numpy(dtype=np.float64)
    after = again[names].loc[:cut].to_numpy(dtype=np.float64)
    differs = (before.view(np.int64) != after.view(np.int64)) & ~(np.isnan(before) & np.isnan(after))
    gaps = np.abs(before - after)
    moves = {}
    for column in np.flatnonzero(differs.any(axis=0)):
        row = int(differs[:, column].argmax())
        gap = float(gaps[row, column])
        moves[str(names[column])] = Difference(pd.Timestamp(days[row]), gap if np.isfinite(gap) else None)
    return moves


def thin_panels(frames: Frames) -> tuple[Frames, dict[str, str]]:
    """Frames with every k-th name of wide panels, and for each of these a text with the number of names read."""
    steps = {
        source: -(-frame.shape[1] // NAMES)
        for source, frame in frames.items()
        if isinstance(source, Panel) and frame.shape[1] > NAMES
    }
    thinned = {source: frame.iloc[:, :: steps[source]] if source in steps else frame for source, frame in frames.items()}
    return thinned, {source.name: f"{thinned[source].shape[1]} of {frames[source].shape[1]}" for source in steps}


def inputs_within(frames: Frames, judged: Sequence[Feature], days: pd.DatetimeIndex) -> Frames:
    """The rows of each input that features on these days can read, back to the longest lookback."""
    reach: dict[Series | Panel, list[int | None]] = {}
    for feature in judged:
        for source, lookback in feature.reach():
            reach.setdefault(source, []).append(lookback)
    return {source: span(source, frames[source], reach[source], days) for source in reach}


def span(source: Series | Panel, frame: pd.DataFrame, reach: list[int | None], days: pd.DatetimeIndex) -> pd.DataFrame:
    """Rows of one input that are known by the last of `days` and observed within the longest lookback of `reach` (None: no
    limit)."""
    readable = np.asarray(days_known(source, frame) <= days[-1])
    longest = [number for number in reach if number is not None]
    if len(longest) == len(reach):
        observed = pd.DatetimeIndex(frame.index if isinstance(source, Panel) else frame["observed"])
        readable &= np.asarray(observed >= days[0] - pd.Timedelta(days=max(longest)) - source.stale_after - MARGIN)
    return frame[readable]
