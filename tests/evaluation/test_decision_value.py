"""Of use for whom: expenses counted one by one, and twice the area is the Brier score."""

import json

import numpy as np
import pandas as pd
import pytest
from model_diagnostics.scoring import ElementaryScore

from evaluation.decision_value import THRESHOLDS, elementary_scores, model_value, murphy, value_curve
from evaluation.sample import EvaluationSample
from evaluation.scores import brier_score


def made(seed: int = 1, n: int = 200) -> EvaluationSample:
    rng = np.random.default_rng(seed)
    outcome = (rng.random(n) < 0.35).astype(float)
    good = np.clip(0.35 + 0.4 * (outcome - 0.35) + 0.1 * rng.normal(size=n), 0.01, 0.99)
    forecasts = {
        "good": good,
        "perfect": outcome,
        "climatology": np.full(n, 0.3) + 0.1 * rng.random(n),
        "random_walk": np.full(n, 0.5),
        "volatility": np.full(n, 0.9),
        "momentum": rng.random(n),
        "hindsight": np.full(n, outcome.mean()),
    }
    return EvaluationSample(60, pd.date_range("2018-01-07", periods=n, freq="W-SUN"), forecasts, outcome)


def test_elementary_scores_worked_by_hand() -> None:
    scores = elementary_scores(np.array([0.6, 0.6, 0.2, 0.2]), np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.5, 0.2, 0.7]))
    np.testing.assert_allclose(scores, [[0.5, 0.2, 0], [0, 0, 0.3], [0.5, 0, 0.3], [0, 0.2, 0]])


def test_elementary_scores_are_those_of_model_diagnostics() -> None:
    found = made()
    scores = elementary_scores(found.probabilities["good"], found.outcome)
    for place in (4, 29, 49, 80):
        theirs = ElementaryScore(eta=THRESHOLDS[place]).score_per_obs(found.outcome, found.probabilities["good"])
        np.testing.assert_allclose(scores[:, place], theirs, atol=1e-14)


def test_twice_the_area_is_the_brier_score() -> None:
    found, middles = made(), (np.arange(10_000) + 0.5) / 10_000
    area = 2 * elementary_scores(found.probabilities["good"], found.outcome, middles).mean()
    assert area == pytest.approx(brier_score(found.probabilities["good"], found.outcome), abs=1e-4)


def test_value_is_what_expenses_counted_one_by_one_say() -> None:
    found, loss = made(), 10.0
    for place in (9, 34, 59):
        cost = THRESHOLDS[place] * loss
        acts = found.probabilities["good"] >= THRESHOLDS[place]
        spent = sum(cost if act else loss * event for act, event in zip(acts, found.outcome, strict=True))
        always_or_never = min(cost * len(acts), loss * found.outcome.sum())
        known = cost * found.outcome.sum()
        assert model_value(found, "good")[place] == pytest.approx((always_or_never - spent) / (always_or_never - known))


def test_knowing_is_worth_one_and_the_base_rate_nothing() -> None:
    found = made()
    np.testing.assert_allclose(model_value(found, "perfect"), 1)
    np.testing.assert_allclose(model_value(found, "hindsight"), 0, atol=1e-12)
    assert (model_value(found, "momentum") < 0).any()


def test_curves_stand_in_their_intervals_beside_climatology_and_volatility() -> None:
    found = made()
    curve, diagram = value_curve(found, "good", seed=1, draws=300), murphy(found, "good", seed=1, draws=300)
    assert list(curve.others) == list(diagram.gains) == ["climatology", "volatility"]
    assert list(diagram.scores) == ["good", "climatology", "volatility"]
    for shown in (curve.value, *diagram.gains.values()):
        assert ((shown.low <= shown.value + 1e-9) & (shown.value <= shown.high + 1e-9)).all()
    assert (curve.value.low[30:40] > 0).all()
    difference = diagram.scores["climatology"] - diagram.scores["good"]
    np.testing.assert_allclose(diagram.gains["climatology"].value, difference, atol=1e-12)
    json.dumps([curve.to_dict(), diagram.to_dict()], allow_nan=False)


def test_too_few_rows_have_no_limits() -> None:
    few = made(n=12)
    curve = value_curve(few, "good", seed=1)
    assert np.isnan(curve.value.low).all()
    assert curve.to_dict()["value"]["low"][0] is None
