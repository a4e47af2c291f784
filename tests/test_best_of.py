"""The best of many tries: chance makes one look good, and the p-values know it."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import SPA

from training.best_of import RESAMPLES, Tried, maximum_null_p_values, spa_p_values
from training.bootstrap import block_length
from training.paired import diebold_mariano_p, paired_null_p

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


def test_the_maximum_over_tries_worked_by_hand() -> None:
    skills = {"a": np.array([0.3, 0.1, 0.4, 0.0]), "b": np.array([0.2, 0.2, -0.1, 0.25])}
    assert maximum_null_p_values(skills) == {"a": 2 / 4, "b": 4 / 4}
    assert maximum_null_p_values({}) == {}


def test_more_tries_never_make_the_best_more_surprising() -> None:
    rng = np.random.default_rng(7)
    skills = {f"try {n}": rng.normal(size=200) for n in range(10)}
    few = {name: skills[name] for name in list(skills)[:3]}
    every, some = maximum_null_p_values(skills), maximum_null_p_values(few)
    assert all(every[name] >= some[name] for name in few)


def test_what_is_kept_on_the_same_data_is_not_unjudged() -> None:
    tried = Tried(60, frozenset({"a", "b", "c"}), forecasts={"b": pd.DataFrame()})
    assert tried.unjudged(["a"]) == 1


@pytest.mark.parametrize(
    ("last", "rotations", "alike"), [("2020-03-22", 9, True), ("2020-03-15", 9, False), ("2020-03-22", 8, False)]
)
def test_what_enters_neither_test_is_unjudged(last: str, rotations: int, alike: bool) -> None:
    """Kept forecasts that miss a judged day, or other rotations, are left out of the p: then they may not count as in it."""
    days = pd.date_range("2020-01-05", "2020-03-22", freq="W")
    kept = pd.DataFrame({60: 0.5}, index=pd.date_range("2020-01-05", last, freq="W"))
    tried = Tried(60, frozenset({"a", "b"}), forecasts={"b": kept}, skills={"b": np.zeros((9, 1))}).alike({60: days}, rotations)
    assert tried.unjudged(["a"]) == (0 if alike else 1)
    assert set(tried.skills) == set(tried.forecasts) == ({"b"} if alike else set())


def test_a_model_that_was_never_rotated_stays_in_the_other_test() -> None:
    days = pd.date_range("2020-01-05", "2020-03-22", freq="W")
    tried = Tried(60, frozenset({"a"}), forecasts={"a": pd.DataFrame({60: 0.5}, index=days)})
    assert tried.alike({60: days}, 9).unjudged([]) == 0


def test_equal_forecasts_cannot_be_told_apart_and_better_ones_can() -> None:
    noise = np.random.default_rng(8).normal(0, 0.1, N)
    assert np.isnan(diebold_mariano_p(np.zeros(N), 60))
    assert np.isnan(diebold_mariano_p(noise[:10], 60))
    assert diebold_mariano_p(noise - noise.mean() + 1e-6, 60) > 0.9
    assert diebold_mariano_p(noise + 0.05, 60) < 0.001


def on_rotations(brier: list[float], shifts: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"null": "shift", "shift": shifts, "horizon": 60, "brier": brier})


def test_a_lead_is_judged_among_the_leads_of_rotations() -> None:
    mine = on_rotations([0.20, 0.25, 0.24, 0.26], [0, 50, 51, 52])
    theirs = on_rotations([0.22, 0.25, 0.27, 0.25], [0, 50, 51, 52])
    assert paired_null_p(mine, theirs, 60) == 2 / 4
    assert np.isnan(paired_null_p(mine, theirs[:-1], 60))
    assert np.isnan(paired_null_p(mine, theirs, 30))
