"""The claimed cascade, rung by rung: where each stands in its own past three years, and which way it goes."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from altrally.wording import capitalised, for_target, leaders, level_title
from core.target import Target
from features.composites import LEAST, WINDOW, trailing_z
from features.registry import FEATURES

BEFORE = pd.Timedelta(days=28)
STEADY = 0.05  # of the scale from lowest to highest
STATES = ((0.8, "strong"), (0.6, "firm"), (0.4, "middling"), (0.2, "soft"), (0.0, "weak"))
RUNGS = (
    ("Liquidity", "net_liquidity_growth"),
    ("Credit", "high_yield_over_treasuries"),
    ("Large stocks", "large_cap_return"),
    ("{leaders} against large", "small_caps_over_large"),
    ("{subject}", "altcoin_momentum"),
)


@dataclass(frozen=True)
class Rung:
    """One rung: value, z-score and percentile (0-1) in its own past three years, and the percentile four weeks before.

    None is unknown. `state` and `direction` say the same in words.
    """

    name: str
    feature: str
    formula: str
    unit: str
    value: float | None
    z: float | None
    percentile: float | None
    before: float | None
    state: str
    direction: str


def rungs(features: pd.DataFrame, as_of: pd.Timestamp, target: Target) -> list[Rung]:
    """The rungs in claimed order. features: every day × features of the target."""
    words = {"leaders": capitalised(leaders(target)), "subject": "Altcoins" if target.is_default else level_title(target)}
    rows = [rung(name.format(**words), feature, features[feature], as_of) for name, feature in RUNGS]
    return [replace(row, formula=for_target(row.formula, target)) for row in rows]


def rung(name: str, feature: str, values: pd.Series, as_of: pd.Timestamp) -> Rung:
    """One rung of the cascade at the end of a day."""
    declared = FEATURES[feature]
    z = trailing_z(values.to_frame(feature), pd.Series({feature: declared.sd_floor}))[feature]
    now, before = percentile(values, as_of), percentile(values, as_of - BEFORE)
    return Rung(
        name=name,
        feature=feature,
        formula=declared.formula,
        unit=declared.unit,
        value=known(values.get(as_of)),
        z=known(z.get(as_of)),
        percentile=now,
        before=before,
        state=state(now),
        direction=direction(now, before),
    )


def percentile(values: pd.Series, day: pd.Timestamp) -> float | None:
    """Share of the past three years' values that aren't above that day's (0-1); None with under a year of values."""
    past = values.loc[:day].tail(WINDOW)
    today = known(values.get(day))
    return None if today is None or past.count() < LEAST else float((past.dropna() <= today).mean())


def known(value: object) -> float | None:
    """The value as a float; None where it is missing."""
    return float(value) if isinstance(value, float | np.floating) and np.isfinite(value) else None


def state(percentile: float | None) -> str:
    """The word for a percentile: weak to strong."""
    return "unknown" if percentile is None else next(word for least, word in STATES if percentile >= least)


def direction(now: float | None, before: float | None) -> str:
    """The word for the change against four weeks before: rising, falling or steady."""
    if now is None or before is None:
        return "unknown"
    return "steady" if abs(now - before) < STEADY else "rising" if now > before else "falling"
