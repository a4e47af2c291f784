"""Of many tries one is the best by luck alone: is the best better than that?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from training.bootstrap import Floats, block_length
from training.plotting import import_matplotlib

RESAMPLES = 1000
PRIOR_TRIALS = 54
"""Exploratory tries on 2018-2024 made before this project began (STATISTICS 10)."""


@dataclass(frozen=True)
class Tried:
    """What was tried before: `trials` in all, and the `configurations` that asked the same question.

    Of those kept on the same data: `forecasts` (days × horizons) and `skills` on every rotation (S, K), by configuration.
    """

    trials: int = PRIOR_TRIALS
    configurations: frozenset[str] = frozenset()
    forecasts: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    skills: Mapping[str, Floats] = field(default_factory=dict)

    def unjudged(self, judged: Iterable[str]) -> int:
        """Configurations of the same question that are neither `judged` now nor kept."""
        return len(self.configurations - set(judged) - set(self.forecasts))

    def alike(self, days: Mapping[int, pd.DatetimeIndex], rotations: int) -> "Tried":
        """Without what was kept and can't be set beside what is judged on these `days` of each horizon, and on so many `rotations`
        (the true dates counted): left out of a test, it mustn't count as judged. A model that was never rotated may stay, as the
        null of the maximum is that of models that are."""
        forecasts = {
            name: frame
            for name, frame in self.forecasts.items()
            if all(frame[horizon].reindex(own).notna().all() for horizon, own in days.items())
            and len(self.skills.get(name, range(rotations))) == rotations
        }
        return replace(self, forecasts=forecasts, skills={name: self.skills[name] for name in forecasts if name in self.skills})


def spa_p_values(losses: Mapping[str, Floats], references: Mapping[str, Floats], days: int, *, seed: int) -> dict[str, float]:
    """Superior predictive ability: how easily chance makes one of so many configurations beat every reference by as much.

    losses: (n,) of each configuration; references: (n,) of each baseline, on the same days. Step-down: the p-value of a
    configuration allows for it and all that did worse, and is no smaller than that of any that did better. The largest over the
    references counts; a configuration that is itself a reference has p = 1.
    References: Hansen (2005), A test for superior predictive ability; Romano and Wolf (2005), Stepwise multiple testing.
    """
    if min(map(len, losses.values()), default=0) < 2:
        return {}
    each = [stepped_down(losses, reference, days, seed) for reference in references.values()]
    return {name: max(found[name] for found in each) for name in losses}


def stepped_down(losses: Mapping[str, Floats], reference: Floats, days: int, seed: int) -> dict[str, float]:
    """Step-down p-values against one reference."""
    import_matplotlib()  # arch imports it
    from arch.bootstrap import SPA

    rivals = sorted((name for name in losses if (losses[name] != reference).any()), key=lambda name: float(losses[name].sum()))
    found = dict.fromkeys(losses, 1.0)
    if not rivals:
        return found
    block = block_length(reference - losses[rivals[0]], days)
    test = SPA(
        reference,
        np.column_stack([losses[name] for name in rivals]),
        block_size=block,
        reps=RESAMPLES,
        bootstrap="circular",
        seed=seed,
    )
    least = 1 / (1 + RESAMPLES)
    for place, name in enumerate(rivals):
        test.subset(np.arange(len(rivals)) >= place)
        test.compute()
        least = found[name] = max(least, float(test.pvalues["consistent"]))
    return found


def maximum_null_p_values(skills: Mapping[str, Floats]) -> dict[str, float]:
    """How often the best of all configurations does as well on a rotation as one did on the true dates.

    skills: (S,) of each configuration, refitted on the same rotations, the true dates first; what can't be had counts as good.
    Reference: Westfall and Young (1993), Resampling-based multiple testing.
    """
    if not skills:
        return {}
    by_chance = np.fmax.reduce([skill[1:] for skill in skills.values()])
    return {name: float((1 + (~(by_chance < skill[0])).sum()) / len(skill)) for name, skill in skills.items()}
