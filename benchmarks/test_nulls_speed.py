"""The null by refitting beside what a user would write with scikit-learn, in one run: same penalty, same scores."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import permutation_test_score

from evaluation.permutation import circularly_shifted
from models.catalog import COMPOSITES
from models.hazard import OVERLAP, Hazard, at_risk, person_periods
from models.ridge_newton import INTERCEPT_PENALTY
from training.dataset import Outcomes
from training.null_tests import (
    CompleteRows,
    FoldMask,
    NullTask,
    complete_rows,
    fold_mask,
    shift_null,
    skill_of_shifts,
    walk_shifts,
)
from training.walk_forward import quarters, usable

WEEKS, FEW, PENALTY = 510, 4, OVERLAP / 0.3**2
FIRST = pd.Timestamp("2018-01-01")


@pytest.fixture(scope="module")
def market() -> tuple[pd.DataFrame, Outcomes]:
    """Ten years of weeks from 2015: six slow inputs, nested outcomes of a slow chance."""
    rng, rows = np.random.default_rng(1), pd.date_range("2015-01-04", periods=WEEKS, freq="W-SUN")
    noise = rng.normal(size=(WEEKS, len(COMPOSITES) + 1)).cumsum(axis=0)
    inputs = pd.DataFrame((noise - noise.mean(axis=0)) / noise.std(axis=0), rows).iloc[:, :-1].set_axis(COMPOSITES, axis=1)
    lasting = np.convolve(rng.random(WEEKS + 8), np.ones(9) / 9, mode="valid")
    events = pd.DataFrame({days: (lasting < np.quantile(lasting, share)).astype(float) for days, share in SHARES.items()}, rows)
    ends = pd.DataFrame({days: rows + pd.Timedelta(days=days) for days in SHARES}, rows)
    return inputs, Outcomes(events, ends, ends + pd.Timedelta(days=1))


SHARES = {30: 0.25, 60: 0.4, 90: 0.5}


def placed(market: tuple[pd.DataFrame, Outcomes]) -> tuple[CompleteRows, FoldMask]:
    """The complete rows and their walk-forward by quarters."""
    complete = complete_rows(*market)
    folds = usable(quarters(FIRST, market[0].index[-1]), market[1])
    return complete, fold_mask(complete, folds, (FIRST, market[0].index[-1]))


def with_scikit_learn(complete: CompleteRows, mask: FoldMask, events: np.ndarray) -> np.ndarray:
    """Forecasts (m, K) of one rotation, a LogisticRegression a fold. An intercept is a column scaled to its own penalty."""
    scale, K = np.sqrt(PENALTY / INTERCEPT_PENALTY), events.shape[1]
    parts = []
    for known, test in mask.rows:
        cells = np.where(known, events, np.nan)
        rows, intervals = np.nonzero(at_risk(cells))
        design = person_periods(complete.inputs, rows, intervals, K) * np.r_[np.full(K, scale), np.ones(complete.inputs.shape[1])]
        logit = LogisticRegression(C=1 / PENALTY, fit_intercept=False, tol=1e-10, solver="newton-cholesky", max_iter=1000)
        slopes = logit.fit(design, cells[rows, intervals]).coef_[0]
        eta = slopes[:K] * scale + (complete.inputs[test] @ slopes[K:])[:, None]
        parts.append(1 - np.cumprod(1 / (1 + np.exp(eta)), axis=1))
    return np.concatenate(parts)


def test_both_ways_give_the_same_scores(market: tuple[pd.DataFrame, Outcomes]) -> None:
    complete, mask = placed(market)
    events = circularly_shifted(complete.events, [0, 60, 120, 300])
    ours = walk_shifts(Hazard(), complete.inputs, events, mask)
    theirs = np.stack([with_scikit_learn(complete, mask, one) for one in events])
    judged, climate = events[:, mask.judged], np.full(ours.shape, 0.4)
    np.testing.assert_allclose(skill_of_shifts(ours, climate, judged), skill_of_shifts(theirs, climate, judged), rtol=0, atol=1e-6)


@pytest.mark.benchmark(group="hazard walk-forward on rotated outcomes: ours all rotations, theirs 4; see per_rotation")
@pytest.mark.parametrize("how", ["ours", "scikit-learn", "permutation_test_score"])
def test_null(benchmark: Callable[..., Any], market: tuple[pd.DataFrame, Outcomes], how: str) -> None:
    complete, mask = placed(market)
    folds = usable(quarters(FIRST, market[0].index[-1]), market[1])
    span = (FIRST, market[0].index[-1])
    few = circularly_shifted(complete.events, list(range(49, 49 + FEW)))
    jobs: dict[str, tuple[Callable[[], Any], int]] = {
        "ours": (partial(shift_null, NullTask(Hazard, *market, folds, span)), 1 + len(complete.outcome_shifts())),
        "scikit-learn": (lambda: [with_scikit_learn(complete, mask, one) for one in few], FEW),
        "permutation_test_score": (partial(permuted, complete, mask), 1 + FEW),
    }
    job, rotations = jobs[how]
    benchmark.pedantic(job, rounds=3, warmup_rounds=1)
    benchmark.extra_info["per_rotation"] = benchmark.stats.stats.median / rotations


def permuted(complete: CompleteRows, mask: FoldMask) -> float:
    """scikit-learn's own null test on the same estimator and folds; a fold learns what was complete before it."""
    cv = [(np.flatnonzero(known.all(axis=1)), np.flatnonzero(test)) for known, test in mask.rows]

    def skill(model: Hazard, X: np.ndarray, y: np.ndarray) -> float:
        return -float(((model.predict(X) - y) ** 2).mean())

    return float(
        permutation_test_score(
            Hazard(), complete.inputs, complete.events, cv=cv, scoring=skill, n_permutations=FEW, random_state=1
        )[2]
    )
