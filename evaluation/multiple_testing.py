"""p-values for the best of many models: is it better than the best by luck?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from core.arrays import Floats
from core.plotting import import_matplotlib
from evaluation.bootstrap import block_length

RESAMPLES = 1000
PRIOR_TRIALS = 184
"""Tries on 2018-2024 made before any that is tracked: 54 and 15 on early models, 115 on the law and its tilt (docs/results.md)."""


@dataclass(frozen=True)
class TrialHistory:
    """Earlier trials: their number `trials`, and the `configurations` with the same question."""

    trials: int = PRIOR_TRIALS
    configurations: frozenset[str] = frozenset()

    def other_configurations(self, judged: Iterable[str]) -> int:
        """Number of configurations of the same question that are not in `judged`."""
        return len(self.configurations - set(judged))


def spa_p_values(losses: Mapping[str, Floats], references: Mapping[str, Floats], days: int, *, seed: int) -> dict[str, float]:
    """p-value of each configuration for superior predictive ability over every reference.

    losses: (n,) of each configuration; references: (n,) of each baseline, on the same days. Step-down: the p-value of a
    configuration allows for it and all that did worse, and is no smaller than that of any that did better. The largest over the
    references counts; a configuration that is itself a reference has p = 1.
    References: Hansen (2005), A test for superior predictive ability; Romano and Wolf (2005), Stepwise multiple testing.
    """
    if min(map(len, losses.values()), default=0) < 2:
        return {}
    by_reference = [step_down_p_values(losses, reference, days, seed) for reference in references.values()]
    return {name: max(p_values[name] for p_values in by_reference) for name in losses}


def step_down_p_values(losses: Mapping[str, Floats], reference: Floats, days: int, seed: int) -> dict[str, float]:
    """Step-down p-values against one reference."""
    import_matplotlib()  # arch imports it
    from arch.bootstrap import SPA

    rivals = sorted((name for name in losses if (losses[name] != reference).any()), key=lambda name: float(losses[name].sum()))
    p_values = dict.fromkeys(losses, 1.0)
    if not rivals:
        return p_values
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
    for rank, name in enumerate(rivals):
        test.subset(np.arange(len(rivals)) >= rank)
        test.compute()
        least = p_values[name] = max(least, float(test.pvalues["consistent"]))
    return p_values
