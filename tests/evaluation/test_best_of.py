"""The best of many tries: chance makes one look good, and the p-values know it."""

from itertools import pairwise

import numpy as np
import pytest
from arch.bootstrap import SPA

from evaluation.bootstrap import block_length
from evaluation.comparison import diebold_mariano_p
from evaluation.multiple_testing import RESAMPLES, TrialHistory, spa_p_values

N = 300
REFERENCE = np.random.default_rng(0).random(N)


def tries(count: int, seed: int, gain: float = 0) -> dict[str, np.ndarray]:
    """Losses that differ from the reference by noise, and of the first by `gain` besides."""
    rng = np.random.default_rng(seed)
    return {f"try {n}": REFERENCE + rng.normal(0, 0.1, N) - (gain if n == 0 else 0) for n in range(count)}


def test_the_best_has_the_p_value_of_archs_test() -> None:
    losses = tries(6, seed=1)
    best = min(losses, key=lambda name: losses[name].sum())
    ordered = sorted(losses, key=lambda name: losses[name].sum())
    block = block_length(REFERENCE - losses[best], 60)
    models = np.column_stack([losses[name] for name in ordered])
    test = SPA(REFERENCE, models, block_size=block, reps=RESAMPLES, bootstrap="circular", seed=3)
    test.compute()
    assert spa_p_values(losses, {"one": REFERENCE}, 60, seed=3)[best] == pytest.approx(test.pvalues["consistent"])


def test_a_model_that_is_better_is_told_from_the_best_of_many_that_are_not() -> None:
    found = spa_p_values(tries(20, seed=2, gain=0.05), {"one": REFERENCE}, 60, seed=3)
    assert found["try 0"] < 0.01
    assert min(p for name, p in found.items() if name != "try 0") > 0.05


def test_whoever_did_worse_has_no_smaller_p_and_the_worst_reference_counts() -> None:
    losses = tries(8, seed=4, gain=0.02)
    one = spa_p_values(losses, {"easy": REFERENCE + 0.1}, 60, seed=3)
    both = spa_p_values(losses, {"easy": REFERENCE + 0.1, "hard": REFERENCE - 0.1}, 60, seed=3)
    ordered = sorted(losses, key=lambda name: losses[name].sum())
    assert all(one[first] <= one[second] for first, second in pairwise(ordered))
    assert all(both[name] >= one[name] for name in losses)
    assert min(both.values()) > 0.5


def test_a_reference_among_the_tries_is_never_superior_to_itself() -> None:
    found = spa_p_values(tries(3, seed=5) | {"itself": REFERENCE}, {"one": REFERENCE}, 60, seed=3)
    assert found["itself"] == 1
    assert spa_p_values({"itself": REFERENCE}, {"one": REFERENCE}, 60, seed=3) == {"itself": 1}
    assert spa_p_values({"none": REFERENCE[:1]}, {"one": REFERENCE[:1]}, 60, seed=3) == {}


def test_a_p_value_is_never_zero() -> None:
    assert spa_p_values(tries(1, seed=6, gain=5), {"one": REFERENCE}, 60, seed=3)["try 0"] == 1 / (1 + RESAMPLES)


def test_what_is_judged_now_is_not_unjudged() -> None:
    assert TrialHistory(60, frozenset({"a", "b", "c"})).other_configurations(["a", "d"]) == 2


def test_equal_forecasts_cannot_be_told_apart_and_better_ones_can() -> None:
    noise = np.random.default_rng(8).normal(0, 0.1, N)
    assert np.isnan(diebold_mariano_p(np.zeros(N), 60))
    assert np.isnan(diebold_mariano_p(noise[:10], 60))
    assert diebold_mariano_p(noise - noise.mean() + 1e-6, 60) > 0.9
    assert diebold_mariano_p(noise + 0.05, 60) < 0.001
