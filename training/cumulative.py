"""When was a forecast better? Its lead over another, added up week by week, and how far chance carries such a sum."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from training.bands import COVERAGE
from training.bootstrap import WIDENING, block_length, block_starts
from training.judged import Judged
from training.plain import plain
from training.scores import Floats

DRAWS = 1_000


@dataclass(frozen=True)
class CumulativeLead:
    """Brier loss of `other` less that of `model`, summed to each day (n,): rising where the model is better.

    `low`, `high` (n,): where 95 % of such sums would be at each day, were neither better; NaN where there are too few rows.
    """

    model: str
    other: str
    horizon: int
    days: pd.DatetimeIndex
    lead: Floats
    low: Floats
    high: Floats

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        return plain(asdict(self))


def cumulative_lead(found: Judged, model: str, other: str, *, seed: int, draws: int = DRAWS) -> CumulativeLead:
    """The lead of a model over another."""
    better = found.loss(other) - found.loss(model)
    low, high = by_chance(better, found.horizon, seed, draws)
    return CumulativeLead(model, other, found.horizon, found.days, np.cumsum(better), low, high)


def by_chance(better: Floats, horizon_days: int, seed: int, draws: int) -> tuple[Floats, Floats]:
    """Limits (n,) of sums of differences (n,) freed of their mean, whose blocks come in any order; widened as every interval."""
    n, block = len(better), block_length(better, horizon_days)
    if n < 2 * block:
        return np.full(n, np.nan), np.full(n, np.nan)
    starts = block_starts(n, block, draws, np.random.default_rng(seed))
    rows = ((starts[:, :, None] + np.arange(block)) % n).reshape(draws, -1)[:, :n]
    sums = np.cumsum((better - better.mean())[rows], axis=1)
    low, high = WIDENING * np.quantile(sums, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2], axis=0)
    return low, high
