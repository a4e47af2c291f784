"""What each feature adds to the log-odds of a forecast, exactly: between the training mean and a day, or between two days.

By block it is the Shapley value, as `score` gives it. A composite is the sum of its features' shares, so a block's effect is split
by the change of each share: the log-odds a whole unit of the composite is worth there, times the change. What the bend of the model
leaves over (little for the hazard) is shared out by the size of the changes. So features add up to their block, and blocks
to the whole, for any model.
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
class Standing:
    """Where a model's inputs stand: the columns it reads (p,), and of each block what its seats put into the composite.

    A block without shares is missing there, and read as neutral.
    """

    x: pd.Series
    shares: Mapping[str, pd.Series]


@dataclass(frozen=True)
class Part:
    """Log-odds that a feature adds; a block that can't be split is one part of its own name."""

    block: str
    name: str
    log_odds: float


@dataclass(frozen=True)
class Effects:
    """The way from log-odds `start` to `end`: by block, and by feature; both add up to the difference."""

    start: float
    end: float
    blocks: list[Part]
    features: list[Part]


def standing(X: pd.DataFrame, shares: Mapping[str, pd.DataFrame], day: pd.Timestamp, columns: list[str]) -> Standing:
    """The standing of a day. X: days × inputs; shares: by block, days × seats."""
    rows = {block: frame[frame.index == day].iloc[0] for block, frame in shares.items()}
    x = X.loc[X.index == day, columns].iloc[0].astype(np.float64)
    return Standing(x, {block: row for block, row in rows.items() if row.notna().all()})


def training_mean(means: Mapping[str, float], like: Standing) -> Standing:
    """The standing of an average training row. A block's mean counts equally against each of its seats."""
    x = pd.Series({column: means[column] for column in like.x.index}, dtype=np.float64)
    return Standing(
        x, {block: pd.Series(means[block] / len(seats), seats.index) for block, seats in like.shares.items() if block in x.index}
    )


def effects(model: Any, start: Standing, end: Standing, horizon: int) -> Effects:
    """What moved the model's log-odds at one horizon (its position) between two standings."""
    groups = blocks_of(list(end.x.index))
    values = shapley(model.predict, end.x.to_numpy(), start.x.to_numpy(), list(groups.values()), horizon=horizon)
    blocks = [Part(block, block, float(value)) for block, value in zip(groups, values, strict=True)]
    features = [part for block in blocks for part in split(model, start, end, horizon, block)]
    return Effects(log_odds(model, start.x, horizon), log_odds(model, end.x, horizon), blocks, features)


def log_odds(model: Any, x: pd.Series, horizon: int) -> float:
    """Log-odds of the model at one horizon."""
    probability = model.predict(x.to_numpy()[None])[0, horizon]
    return float(logit(np.clip(probability, CERTAIN, 1 - CERTAIN)))


def split(model: Any, start: Standing, end: Standing, horizon: int, effect: Part) -> list[Part]:
    """A block's effect, feature by feature; as it is where the model reads no composite or it was missing at one end."""
    block = effect.block
    if block not in end.x.index or block not in start.shares or block not in end.shares:
        column = [name for name in end.x.index if blocks_of([name]).keys() == {block}]
        return [Part(block, ", ".join(column), effect.log_odds)]
    change = end.shares[block] - start.shares[block]
    parts = shared_out(effect.log_odds, worth_of_unit(model, start, end, horizon, block), change.to_numpy())
    return [Part(block, str(seat), float(part)) for seat, part in zip(change.index, parts, strict=True)]


def shared_out(effect: float, slope: float, change: Floats) -> Floats:
    """`effect` over features (f,): slope times change, and the rest by the size of the change. Adds up to `effect`."""
    size = np.abs(change)
    weight = size / size.sum() if size.sum() > 0 else np.full(len(change), 1 / len(change))
    return np.asarray(slope * change + (effect - slope * change.sum()) * weight)


def worth_of_unit(model: Any, start: Standing, end: Standing, horizon: int, block: str) -> float:
    """Shapley value of one unit of a composite, half of it either side of the middle between two standings."""
    groups = blocks_of(list(end.x.index))
    middle = (start.x[block] + end.x[block]) / 2
    low, high = start.x.copy(), end.x.copy()
    low[block], high[block] = middle - 0.5, middle + 0.5
    values = shapley(model.predict, high.to_numpy(), low.to_numpy(), list(groups.values()), horizon=horizon)
    return float(values[list(groups).index(block)])


@dataclass(frozen=True)
class Sensitivity:
    """The probability if one composite stood a whole standard deviation lower or higher, all else as it is."""

    block: str
    lower: float
    higher: float


def sensitivities(model: Any, x: pd.Series, horizon: int) -> list[Sensitivity]:
    """One a composite the model reads, largest effect first."""
    each = [Sensitivity(block, *(moved(model, x, block, by, horizon) for by in (-1, 1))) for block in BLOCKS if block in x.index]
    return sorted(each, key=lambda one: -abs(one.higher - one.lower))


def moved(model: Any, x: pd.Series, block: str, by: float, horizon: int) -> float:
    """The probability with one composite moved."""
    other = x.copy()
    other[block] += by
    return float(model.predict(other.to_numpy()[None])[0, horizon])
