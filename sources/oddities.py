"""What a source does to its numbers without a word: a unit slips, a split isn't adjusted, history shrinks. Told, not stored."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

DAYS_TO_CONFIRM = 5
ANCHOR = 5
UNITS = np.log([100.0, 1_000.0, 1_000_000.0])
NEAR_A_UNIT = 0.1
NO_VALUES = pd.Series(index=pd.DatetimeIndex([]), dtype="float64")

Far = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.bool_]]


def beyond(times: float) -> Far:
    """Whether log ratios mean more than `times` higher or lower."""
    return lambda logs: np.abs(logs) > np.log(times)


def another_unit(logs: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether log ratios are within a tenth of 100, a thousand or a million times, up or down."""
    near: npt.NDArray[np.bool_] = np.abs(np.abs(logs)[..., None] - UNITS).min(axis=-1) < NEAR_A_UNIT
    return near


def held_back(fetched: pd.Series, stored: pd.Series, far: Far, *, confirmed: bool) -> pd.Series:
    """Which days of `fetched` are not to be believed: flags by day.

    Both are values by observed day, in order. A stored day that comes back `far` from what is stored is held back; so is a new day
    that is far from the last one believed, and those that follow until the level returns. If `confirmed`, a new level is believed
    once `DAYS_TO_CONFIRM` days agree on it, as long as stored days come back as they were. With nothing stored the level of the
    last days is believed. What is not above zero is not judged.
    """
    flags = pd.Series(False, index=fetched.index)
    logs, known = _logs(fetched), _logs(stored)
    if known.empty and not far(np.diff(logs.to_numpy())).any():
        return flags
    again = (logs - known.reindex(logs.index)).dropna()
    moved = again.index[far(again.to_numpy())]
    new = logs[logs.index > known.index[-1]] if len(known) else logs[::-1]
    believed = known.iloc[-1] if len(known) else _anchor(logs, far)
    need = DAYS_TO_CONFIRM if confirmed and moved.empty else len(logs) + 1
    flags[moved.union(new.index[_walk(new.to_numpy(), believed, far, need)])] = True
    return flags


def _logs(values: pd.Series) -> pd.Series:
    known = values[values > 0]
    return pd.Series(np.log(known.to_numpy(np.float64)), index=known.index)


def _anchor(logs: pd.Series, far: Far) -> float:
    """The last value that agrees with the typical one of the last few."""
    last = logs.iloc[-ANCHOR:].to_numpy()
    agreeing = last[~far(last - np.median(last))] if last.size else last
    return float(agreeing[-1]) if agreeing.size else float(np.median(last)) if last.size else 0.0


def _walk(logs: npt.NDArray[np.float64], believed: float, far: Far, need: int) -> npt.NDArray[np.bool_]:
    """Flags of values far from the last one believed, until `need` in a row agree with each other."""
    flags = np.zeros(logs.size, dtype=bool)
    if not far(np.diff(logs, prepend=believed)).any():
        return flags
    run: list[int] = []
    for place, level in enumerate(logs):
        if not far(level - believed):
            believed, run = level, []
            continue
        run = [*run, place] if run and not far(level - logs[run[-1]]) else [place]
        flags[place] = True
        if len(run) >= need:
            flags[run] = False
            believed, run = level, []
    return flags


def held_words(fetched: pd.Series, stored: pd.Series, held: pd.Series) -> Iterator[str]:
    """What was held back and why, for the user; nothing where nothing was."""
    if not held.any():
        return
    days = held.index[held]
    ratio = _odd_ratio(fetched, stored, days)
    size = f"{ratio:.3g} times" if ratio > 1 else f"1/{1 / ratio:.3g} of"
    guess = "another unit" if another_unit(np.array([np.log(ratio)])).any() else "a split that isn't adjusted, or a slip"
    count = f"{len(days)} day{'s' if len(days) > 1 else ''} from {days[0]:%Y-%m-%d} on"
    yield f"{count} came at {size} the level before: {guess}? Not stored; what is stored stays."


def _odd_ratio(fetched: pd.Series, stored: pd.Series, days: pd.Index) -> float:
    """How many times the first odd day is of the last one believed; with nothing stored, the last odd day of the next believed."""
    believed = pd.concat([fetched.drop(days), stored])
    believed = believed[believed > 0].sort_index()
    before, after = believed[believed.index <= days[0]], believed[believed.index > days[-1]]
    if len(before) and (len(stored) or after.empty):
        return float(fetched[days[0]] / before.iloc[-1])
    if len(after):
        return float(fetched[days[-1]] / after.iloc[0])
    return float(fetched[days[0]] / believed.iloc[0]) if len(believed) else float(fetched.max() / fetched[fetched > 0].min())


def gone_words(fetched: pd.Index, stored: pd.Index, since: pd.Timestamp) -> Iterator[str]:
    """Which stored days since `since` a source no longer sends, for the user; nothing where it sends all."""
    gone = stored[stored >= since].difference(fetched)
    if len(gone):
        days = f"{len(gone)} stored day{'s' if len(gone) > 1 else ''} from {gone[0]:%Y-%m-%d} to {gone[-1]:%Y-%m-%d}"
        yield f"its history was shortened: {days} no longer come. What is stored stays."
