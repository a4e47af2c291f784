"""Verification: the scores are the textbook's, and each is told with what it is worth."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from small_market import small_market

from core.errors import Refused, UnknownName
from core.json import plain
from core.progress import silent
from core.target import ALTCOINS
from evaluation.multiple_testing import PRIOR_TRIALS, TrialHistory
from evaluation.scores import auc, brier_score, effective_sample_size, log_score
from models.catalog import MODELS
from training.null_results import SPACED, Walk, null_results
from training.settings import TrainSettings
from training.verify import (
    Verification,
    VerifyOptions,
    model_names,
    non_overlapping,
    skill,
    verify_on,
)
from training.walk_forward import quarters, usable

CONTRACT = ["model", "horizon", "n", "n_effective", "base_rate", "brier", "log_score", "auc"]
SKILLS = ["skill_volatility", "skill_climatology", "skill_random_walk", "skill_momentum"]
SETTINGS = TrainSettings(first_test=pd.Timestamp("2021-01-01"))
NAMES = ["volatility", "climatology", "random_walk", "momentum", "hazard"]


def verified(
    names: list[str], *, settings: TrainSettings = SETTINGS, first: str = "2021-01-01", last: str = "2024-12-31", signal: float = 0
) -> Verification:
    data = small_market(settings, signal=signal)
    return verify_on(data, settings, names, (pd.Timestamp(first), pd.Timestamp(last)), silent)


@pytest.fixture(scope="module")
def judged() -> Verification:
    return verified(NAMES)


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    probability, outcome = np.round(rng.random(300), 2), (rng.random(300) < 0.4).astype(float)
    assert brier_score(probability, outcome) == pytest.approx(brier_score_loss(outcome, probability), abs=1e-14)
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    assert log_score(probability, outcome) == pytest.approx(log_loss(outcome, clipped), abs=1e-12)
    assert auc(probability, outcome) == pytest.approx(roc_auc_score(outcome, probability), abs=1e-14)


def test_scores_worked_by_hand() -> None:
    probability, outcome = np.array([0.9, 0.2, 0.2]), np.array([1.0, 0.0, 1.0])
    assert brier_score(probability, outcome) == pytest.approx((0.01 + 0.04 + 0.64) / 3)
    assert log_score(probability, outcome) == pytest.approx(-(math.log(0.9) + math.log(0.8) + math.log(0.2)) / 3)
    assert auc(probability, outcome) == pytest.approx((1 + 0.5) / 2)
    assert log_score(np.array([0.0]), np.array([1.0])) == pytest.approx(-math.log(1e-6))
    assert skill(np.array([0.1, 0.2]), np.array([0.3, 0.3])) == pytest.approx(0.5)


def test_where_a_score_cannot_be_had_it_is_missing() -> None:
    none = np.array([])
    assert math.isnan(brier_score(none, none))
    assert math.isnan(auc(np.array([0.2, 0.4]), np.array([0.0, 0.0])))
    assert math.isnan(skill(none, none))
    assert plain({"low": np.float64("nan"), "n": 3}) == {"low": None, "n": 3}


@given(st.integers(0, 2**32 - 1), st.sampled_from([30, 60, 90]), st.integers(0, 400))
def test_overlap_never_adds_information(seed: int, days: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    differences = np.convolve(rng.normal(size=n + 12), np.ones(rng.integers(1, 13)), mode="valid")[:n]
    assert 0 <= effective_sample_size(differences, days) <= n * 7 / days + 1e-9


def test_slow_differences_are_worth_fewer_windows_than_fast_ones() -> None:
    shocks = np.random.default_rng(0).normal(size=400)
    slow = np.convolve(shocks, np.ones(60), mode="same")
    assert effective_sample_size(shocks, 60) == pytest.approx(400 * 7 / 60)
    assert effective_sample_size(slow, 60) < 20


def test_rows_hold_the_contract_and_are_json(judged: Verification) -> None:
    assert [(row["model"], row["horizon"]) for row in judged.rows] == [(name, days) for days in (30, 60, 90) for name in NAMES]
    for row in judged.rows:
        assert list(row)[: len(CONTRACT) + len(SKILLS)] == CONTRACT + SKILLS
        assert all(set(row[name]) == {"value", "low", "high"} for name in SKILLS)
        assert row["n_effective"] <= row["n"] * 7 / row["horizon"]
        assert row["widening"] >= 1
        assert row["block"] >= math.ceil(row["horizon"] / 7)
    json.dumps(judged.rows, allow_nan=False)


def test_climatology_has_no_skill_against_itself(judged: Verification) -> None:
    row = judged.rows[1]
    assert row["model"] == "climatology"
    assert row["skill_climatology"] == {"value": 0, "low": 0, "high": 0}


def test_rows_agree_with_the_forecasts_handed_out(judged: Verification) -> None:
    here = judged.forecasts.query("model == 'hazard' and horizon == 60").dropna()
    row = next(row for row in judged.rows if (row["model"], row["horizon"]) == ("hazard", 60))
    brier = ((here["probability"] - here["outcome"]) ** 2).mean()
    climate = ((here["climatology"] - here["outcome"]) ** 2).mean()
    assert (row["n"], row["brier"], row["base_rate"]) == (len(here), pytest.approx(brier), pytest.approx(here["outcome"].mean()))
    assert row["skill_climatology"]["value"] == pytest.approx(1 - brier / climate)


def test_forecasts_hold_every_day_and_outcomes_not_over_are_missing(judged: Verification) -> None:
    assert list(judged.forecasts) == ["as_of", "horizon", "model", "probability", "climatology", "outcome"]
    last = judged.forecasts[judged.forecasts["as_of"] > pd.Timestamp("2024-12-02")]
    assert len(last) == 4 * 3 * len(NAMES)
    assert last["outcome"].isna().all()
    assert judged.forecasts["probability"].between(0, 1).all()


def test_every_quick_model_has_its_nulls_and_the_best_of_all(judged: Verification) -> None:
    for row in judged.rows:
        assert 0 < row["null_p"] <= 1
        assert row["null"]["p"] == row["null_p"]
        assert row["best_of_n_p"] == row["spa_p"]
        assert row["trials"] == PRIOR_TRIALS + len(NAMES)
        assert (row["claim_null_p"] is None) == (row["model"] != "hazard")


def test_what_was_tried_and_is_not_judged_here_is_counted() -> None:
    data = small_market(SETTINGS)
    tried = TrialHistory(250, frozenset({"another"}))
    found = verify_on(data, SETTINGS, ["hazard"], (pd.Timestamp("2023-01-01"), data.until), silent, VerifyOptions(tried))
    assert all(row["unjudged"] == 1 and row["trials"] == 250 for row in found.rows)


def test_every_row_tells_the_drift_score_and_the_grade(judged: Verification) -> None:
    drift = judged.rows[0]["drift"]
    assert 0 < drift["p"] <= 1
    for row in judged.rows:
        assert row["drift"] == drift
        at_60 = next(one for one in judged.rows if (one["model"], one["horizon"]) == (row["model"], 60))
        assert row["ahead_of_all"] == all(at_60[name]["value"] > 0 for name in SKILLS)
        assert row["grade"] == ("history supports it" if drift["p"] < 0.05 and row["ahead_of_all"] else "not shown")
    assert not any(row["ahead_of_all"] for row in judged.rows if row["model"] in NAMES[:4])


def test_a_slow_model_is_refitted_on_spaced_rotations_and_each_is_kept(tmp_path: Path) -> None:
    data, first = small_market(SETTINGS), pd.Timestamp("2024-07-01")
    walk = Walk(data, SETTINGS, usable(quarters(first, data.until), data.outcomes), (first, data.until))
    without_cache = null_results(["boosted"], walk, silent)
    assert without_cache == {}
    found = null_results(["boosted"], walk, silent, cache_folder=tmp_path)["boosted"]
    assert found.shift is not None
    assert len(found.shift.shifts) == 1 + SPACED
    files = sorted(tmp_path.rglob("*.npy"))
    assert len(files) == 2 * (1 + SPACED)
    files[0].unlink()
    files[1].write_bytes(b"half a fi")
    again = null_results(["boosted"], walk, silent, cache_folder=tmp_path)["boosted"]
    assert again.shift is not None
    np.testing.assert_array_equal(found.shift.skill, again.shift.skill)


def test_cycles_and_blocks_are_left_out_on_request() -> None:
    data = small_market(SETTINGS)
    span = (pd.Timestamp("2023-01-01"), data.until)
    rows = verify_on(data, SETTINGS, ["pool"], span, silent, VerifyOptions(robust=True)).rows
    assert {one["block"] for one in rows[0]["ablation"]} >= {"breadth", "crypto_state"}
    assert {one["cycle"] for one in rows[0]["leave_one_cycle_out"]} == {"2017–18", "2020–21", "2023–24"}
    json.dumps(rows, allow_nan=False)


def test_a_model_that_knows_shows_skill_against_all_three() -> None:
    rows = verified(["hazard"], signal=2).rows
    assert [row["model"] for row in rows] == ["hazard"] * 3
    assert all(row[name]["low"] > 0 for row in rows if row["horizon"] == 60 for name in SKILLS)


def test_a_shorter_span_judges_the_same_forecasts(judged: Verification) -> None:
    part = verified(["hazard"], first="2022-02-09", last="2023-05-20").forecasts
    whole = judged.forecasts.query("model == 'hazard'")
    same = whole[whole["as_of"].between("2022-02-09", "2023-05-20")].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, same, check_exact=True)
    assert part["outcome"].notna().all()


def test_non_overlapping_rows_are_judged_from_every_start() -> None:
    loss, reference = np.arange(20.0), np.full(20, 10.0)
    each = [1 - loss[offset::9].mean() / 10 for offset in range(9)]
    expected = {"mean": np.mean(each), "low": min(each), "high": max(each)}
    assert non_overlapping(loss, reference, 60) == pytest.approx(expected)


def test_onset_rows_are_those_not_in_a_rally_yet(judged: Verification) -> None:
    data = small_market(SETTINGS)
    here = judged.forecasts.query("model == 'hazard' and horizon == 60").dropna().set_index("as_of")
    onset = here[data.X["rise_from_low"].reindex(here.index) < ALTCOINS.under_way]
    row = next(row for row in judged.rows if (row["model"], row["horizon"]) == ("hazard", 60))
    ratio = ((onset["probability"] - onset["outcome"]) ** 2).sum() / ((onset["climatology"] - onset["outcome"]) ** 2).sum()
    assert 0 < len(onset) < len(here)
    assert row["onset"] == {"n": len(onset), "skill_climatology": pytest.approx(1 - ratio)}


def test_days_without_a_known_outcome_give_rows_that_say_so() -> None:
    rows = verified(["hazard"], first="2024-12-20").rows
    assert all(row["n"] == 0 and row["brier"] is None and row["skill_climatology"]["low"] is None for row in rows)


@pytest.mark.parametrize("kind", ["terminal", "relative"])
def test_other_outcomes_have_their_models_and_all_three_skills(kind: str) -> None:
    settings = replace(SETTINGS, target=ALTCOINS.with_outcome(kind))
    assert set(model_names(settings)) == {name for name, spec in MODELS.items() if kind in spec.kinds}
    rows = verified(["logit"], settings=settings, first="2024-01-01").rows
    assert all(row[name]["value"] is not None for row in rows for name in SKILLS)
    if kind == "relative":
        assert all(row[name] == row["skill_climatology"] for row in rows for name in ("skill_random_walk", "skill_volatility"))
        assert all(row["drift"] is None and row["grade"] == "not shown" for row in rows)


def test_a_model_that_cannot_speak_of_the_outcome_is_refused() -> None:
    with pytest.raises(Refused, match="hazard"):
        model_names(TrainSettings(ALTCOINS.with_outcome("terminal"), models=("hazard",)))
    with pytest.raises(UnknownName, match="Did you mean 'hazard'"):
        model_names(TrainSettings(models=("hazrd",)))
