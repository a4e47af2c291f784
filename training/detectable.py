"""Could skill have been seen? The least the interval rule would find, and how many years it would take to find a little."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from training.bands import COVERAGE, DRAWS, blocks_of
from training.bootstrap import ROW_DAYS, WIDENING
from training.scores import Floats

CHANCE = 0.80
SMALL_SKILL = 0.05
YEAR_DAYS = 365.25


@dataclass(frozen=True)
class Power:
    """What a sample of this length and dependence can show; NaN where there are too few rows, or nothing to tell apart.

    `minimum_detectable_effect`: the true skill whose interval would lie above zero in 80 % of such samples. `years_for_0_05`: the
    years of such rows that would bring it down to a skill of +0.05.
    """

    minimum_detectable_effect: float
    years_for_0_05: float


def power(loss: Floats, reference: Floats, horizon_days: int, *, seed: int, draws: int = DRAWS) -> Power:
    """What losses (n,) can tell of skill 1 − Σ loss / Σ reference.

    The least is (z₀.₉₇₅ + z₀.₈₀)·`WIDENING`·s. The estimate is taken as normal; s, its standard deviation over block-bootstrap
    draws, is too small by as much as the interval's limits are, and falls with the root of the years.
    """
    resampling = blocks_of(reference - loss, horizon_days, seed, draws)
    mine, theirs = resampling.sums(np.column_stack([loss, reference])).T
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = float(np.std(1 - mine / theirs))
    effect = float(norm.ppf((1 + COVERAGE) / 2) + norm.ppf(CHANCE)) * WIDENING * spread or np.nan
    years = len(loss) * ROW_DAYS / YEAR_DAYS
    return Power(effect, years * (effect / SMALL_SKILL) ** 2)
