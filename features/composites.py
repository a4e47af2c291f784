"""One number a block: the mean of its features' trailing z-scores, signed as declared (STATISTICS 9). Nothing here is learnt."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from features.registry import BLOCKS, Feature
from features.transforms import moving_mean, moving_sd

WINDOW, LEAST = 1095, 365  # days
CLIP = 3.0
SD_FLOOR = 0.1
"""Of a composite, in units of its members' z-scores."""


def trailing_z(data: pd.DataFrame, sd_floor: pd.Series) -> pd.DataFrame:
    """Trailing z-score over the past three years including today, cut at ±3.

    data: every day × names. NaN where there are under 365 values, or none today. A name's `sd_floor` is the least it is divided by.
    """
    deviation = data - moving_mean(data, WINDOW, least=LEAST)
    sd = moving_sd(data, WINDOW, least=LEAST)
    return (deviation / sd.clip(lower=sd_floor, axis=1)).clip(-CLIP, CLIP)


def composites(values: pd.DataFrame, features: Iterable[Feature]) -> pd.DataFrame:
    """Composites: days × blocks, missing as NaN. values: every day × names of `features`."""
    declared = {feature.name: feature for feature in features}
    floors = pd.Series({name: feature.sd_floor for name, feature in declared.items()})
    scores = trailing_z(values[list(declared)], floors)
    blocks = {block: block_mean(scores, [member for member in declared.values() if member.block == block]) for block in BLOCKS}
    return trailing_z(pd.DataFrame(blocks), pd.Series(SD_FLOOR, list(BLOCKS)))


def block_mean(scores: pd.DataFrame, members: list[Feature]) -> pd.Series:
    """Mean of the known signed scores; NaN where fewer than half of the members have one."""
    seated = signed_members(scores, members)
    return pd.Series(seated.fillna(0.0).to_numpy().sum(axis=1), scores.index) / member_counts(seated)


def signed_members(scores: pd.DataFrame, members: list[Feature]) -> pd.DataFrame:
    """Signed scores, days × members of a block.

    A stand-in is no member of its own: it fills the days its principal is missing.
    """
    signed = scores * pd.Series({member.name: float(member.sign) for member in members if member.sign})
    seated = pd.DataFrame(
        {member.name: signed[member.name] for member in members if member.sign and not member.stands_in_for}, scores.index
    )
    for member in members:
        if member.stands_in_for:
            seated[member.stands_in_for] = seated[member.stands_in_for].fillna(signed[member.name])
    return seated


def member_counts(seated: pd.DataFrame) -> pd.Series:
    """Number of members with a score on each day; NaN where fewer than half have one."""
    counts = seated.notna().sum(axis=1)
    return counts.where(counts >= max(seated.shape[1] / 2, 1)).astype(np.float64)


def block_shares(values: pd.DataFrame, features: Iterable[Feature]) -> dict[str, pd.DataFrame]:
    """Contribution of each member to its block's composite: days × members, which add up to it; NaN where it is missing.

    values: as for `composites`. A contribution is the signed score over the number of known scores, minus its own trailing mean,
    in standard deviations of the block's mean; so the trailing mean of the block is divided exactly too. A missing score counts as
    0 before its trailing mean is subtracted. Where the composite is clipped, all its contributions shrink in proportion.
    """
    declared = {feature.name: feature for feature in features}
    scores = trailing_z(values[list(declared)], pd.Series({name: feature.sd_floor for name, feature in declared.items()}))
    return {
        block: _shares(signed_members(scores, [member for member in declared.values() if member.block == block]))
        for block in BLOCKS
    }


def _shares(seated: pd.DataFrame) -> pd.DataFrame:
    part = seated.fillna(0.0).div(member_counts(seated), axis=0)
    sd = moving_sd(part.sum(axis=1, skipna=False), WINDOW, least=LEAST).clip(lower=SD_FLOOR)
    unclipped = (part - moving_mean(part, WINDOW, least=LEAST)).div(sd, axis=0)
    size = unclipped.sum(axis=1, skipna=False).abs()
    return unclipped.mul((CLIP / size.where(size > CLIP)).fillna(1.0), axis=0)
