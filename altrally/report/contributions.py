"""What each feature adds to the log-odds of a forecast, exactly: between the training mean and a day, or between two days.

For a block it is the Shapley value, as in `score`. A composite is the sum of its features' shares, so the effect of a block is
split by the change of each share: the log-odds that one unit of the composite adds there, times the change. The rest, which is due
to the curvature of the model (little for the hazard), is split by the size of the changes. So features sum to their block, and
blocks to the whole, for any model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import logit

from altrally.forecast import blocks_of
from features.registry import BLOCKS
from models.shapley import CERTAIN, shapley

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class InputState:
    """The inputs of a model on a day: the columns it reads (p,), and by block the share of each feature in the composite.

    A block without shares is missing, and read as neutral.
    """

    x: pd.Series
    shares: Mapping[str, pd.Series]


@dataclass(frozen=True)
class Part:
    """Log-odds that a feature adds; a block that can't be split is one part named like the block."""

    block: str
    name: str
    log_odds: float


@dataclass(frozen=True)
class Effects:
    """The difference of the log-odds `end` and `start` by block and by feature; each sums to it."""

    start: float
    end: float
    blocks: list[Part]
    features: list[Part]


def input_state(X: pd.DataFrame, shares: Mapping[str, pd.DataFrame], day: pd.Timestamp, columns: list[str]) -> InputState:
    """The inputs of a day. X: days × inputs; shares: by block, days × features."""
    rows = {block: frame[frame.index == day].iloc[0] for block, frame in shares.items()}
    x = X.loc[X.index == day, columns].iloc[0].astype(np.float64)
    return InputState(x, {block: row for block, row in rows.items() if row.notna().all()})


def training_mean(means: Mapping[str, float], like: InputState) -> InputState:
    """The inputs of an average training row. The mean of a block is split equally over its features."""
    x = pd.Series({column: means[column] for column in like.x.index}, dtype=np.float64)
    return InputState(
        x, {block: pd.Series(means[block] / len(seats), seats.index) for block, seats in like.shares.items() if block in x.index}
    )


def effects(model: Any, start: InputState, end: InputState, horizon: int) -> Effects:
    """The effects of the change from `start` to `end` on a model's log-odds; `horizon`: position of the horizon."""
    groups = blocks_of(list(end.x.index))
    values = shapley(model.predict, end.x.to_numpy(), start.x.to_numpy(), list(groups.values()), horizon=horizon)
    blocks = [Part(block, block, float(value)) for block, value in zip(groups, values, strict=True)]
    features = [part for block in blocks for part in split_by_feature(model, start, end, horizon, block)]
    return Effects(log_odds(model, start.x, horizon), log_odds(model, end.x, horizon), blocks, features)


def log_odds(model: Any, x: pd.Series, horizon: int) -> float:
    """Log-odds of the model for inputs x (p,); `horizon`: position of the horizon."""
    probability = model.predict(x.to_numpy()[None])[0, horizon]
    return float(logit(np.clip(probability, CERTAIN, 1 - CERTAIN)))


def split_by_feature(model: Any, start: InputState, end: InputState, horizon: int, effect: Part) -> list[Part]:
    """The effect of a block split by feature; unsplit where the model reads no composite of it, or a share is missing."""
    block = effect.block
    if block not in end.x.index or block not in start.shares or block not in end.shares:
        columns = [name for name in end.x.index if blocks_of([name]).keys() == {block}]
        return [Part(block, ", ".join(columns), effect.log_odds)]
    change = end.shares[block] - start.shares[block]
    parts = distribute(effect.log_odds, unit_effect(model, start, end, horizon, block), change.to_numpy())
    return [Part(block, str(feature), float(part)) for feature, part in zip(change.index, parts, strict=True)]


def distribute(effect: float, slope: float, change: Floats) -> Floats:
    """`effect` split over features (f,): slope times change, and the rest by the size of the change; sums to `effect`."""
    size = np.abs(change)
    weight = size / size.sum() if size.sum() > 0 else np.full(len(change), 1 / len(change))
    return np.asarray(slope * change + (effect - slope * change.sum()) * weight)


def unit_effect(model: Any, start: InputState, end: InputState, horizon: int, block: str) -> float:
    """Shapley value of one unit of a composite, half of it on either side of the middle between `start` and `end`."""
    groups = blocks_of(list(end.x.index))
    middle = (start.x[block] + end.x[block]) / 2
    low, high = start.x.copy(), end.x.copy()
    low[block], high[block] = middle - 0.5, middle + 0.5
    values = shapley(model.predict, high.to_numpy(), low.to_numpy(), list(groups.values()), horizon=horizon)
    return float(values[list(groups).index(block)])


@dataclass(frozen=True)
class Sensitivity:
    """The probability if one composite were a standard deviation lower or higher, all else unchanged."""

    block: str
    lower: float
    higher: float


def sensitivities(model: Any, x: pd.Series, horizon: int) -> list[Sensitivity]:
    """One per composite the model reads, largest effect first; `horizon`: position of the horizon."""

    def probability(block: str, change: float) -> float:
        changed = x.copy()
        changed[block] += change
        return float(model.predict(changed.to_numpy()[None])[0, horizon])

    rows = [Sensitivity(block, probability(block, -1), probability(block, 1)) for block in BLOCKS if block in x.index]
    return sorted(rows, key=lambda row: -abs(row.higher - row.lower))
