"""One number a block: the mean of its features' trailing z-scores, signed as declared (STATISTICS 9). Nothing here is learnt."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from features.kernels import moving_mean, moving_sd
from features.registry import BLOCKS, Feature

WINDOW, LEAST = 1095, 365  # days
CLIP = 3.0
SD_FLOOR = 0.1
"""Of a composite, in units of its members' z-scores."""


LAGGED = {"liquidity_lagged": "liquidity"}
"""Composites as they were a while ago, and the block each belongs to."""

LAG_FIRST, LAG_LAST = 5 * 7, 16 * 7
"""From so many days ago to so many: liquidity is said to need one to four months to reach coins."""


def lagged(blocks: pd.DataFrame) -> pd.DataFrame:
    """Days × names of `LAGGED`: the mean of each block from 16 to 5 weeks ago, half of those days at least. blocks: every day."""
    days = LAG_LAST - LAG_FIRST + 1
    then = blocks.shift(LAG_FIRST).rolling(days, min_periods=days // 2).mean()
    return pd.DataFrame({name: then[block] for name, block in LAGGED.items()}, index=blocks.index)


def trailing_z(data: pd.DataFrame, sd_floor: pd.Series) -> pd.DataFrame:
    """Distance from the mean of the past three years in their standard deviations, today's among them, at most ±3.

    data: every day × names. NaN where there are under 365 values, or none today. A name's `sd_floor` is the least it is divided by.
    """
    deviation = data - moving_mean(data, WINDOW, least=LEAST)
    sd = moving_sd(data, WINDOW, least=LEAST)
    return (deviation / sd.clip(lower=sd_floor, axis=1)).clip(-CLIP, CLIP)


def composites(values: pd.DataFrame, features: Iterable[Feature]) -> pd.DataFrame:
    """Days × blocks, NaN kept. values: every day × names of `features`."""
    declared = {feature.name: feature for feature in features}
    floors = pd.Series({name: feature.sd_floor for name, feature in declared.items()})
    scores = trailing_z(values[list(declared)], floors)
    blocks = {block: block_mean(scores, [one for one in declared.values() if one.block == block]) for block in BLOCKS}
    return trailing_z(pd.DataFrame(blocks), pd.Series(SD_FLOOR, list(BLOCKS)))


def block_mean(scores: pd.DataFrame, members: list[Feature]) -> pd.Series:
    """Mean of the signed scores there are, NaN where fewer than half of the members have one.

    A stand-in is no member of its own: it fills the days its principal is missing.
    """
    signed = scores * pd.Series({one.name: float(one.sign) for one in members if one.sign})
    seats = pd.DataFrame({one.name: signed[one.name] for one in members if one.sign and not one.stands_in_for}, scores.index)
    for one in members:
        if one.stands_in_for:
            seats[one.stands_in_for] = seats[one.stands_in_for].fillna(signed[one.name])
    there = seats.notna().sum(axis=1)
    total = seats.fillna(0.0).to_numpy().sum(axis=1)
    return pd.Series(total, scores.index) / there.where(there >= max(seats.shape[1] / 2, 1)).astype(np.float64)
