"""Evidence: a drift score worked by hand, bets that gain nothing without an edge, and one rule for the grade."""

import numpy as np
import pytest

from evaluation.evidence import (
    ENOUGH,
    NEAREST_WEEKS,
    YEARS_AT_SHARPE_ONE,
    Grade,
    LiveEvidence,
    brier_factor,
    drift_score,
    evidence,
    grade_of,
    spaced_positions,
    tilt_factor,
)

RNG = np.random.default_rng(5)


def test_the_drift_score_is_that_of_every_shift_made_one_by_one() -> None:
    signal, followed = RNG.normal(size=120), RNG.normal(size=120)
    found = drift_score(signal, followed)
    assert found is not None
    sums = [float(np.roll(signal, shift) @ np.clip(followed, -3, 3)) for shift in range(120)]
    shifted = sums[NEAREST_WEEKS : 120 - NEAREST_WEEKS + 1]
    assert found.score == pytest.approx(sums[0])
    assert found.p == (1 + sum(one >= sums[0] for one in shifted)) / (1 + len(shifted))
    assert (found.weeks, found.shifts, found.independent) == (120, len(shifted), 9)


def test_a_signal_that_comes_before_is_found_and_one_that_comes_after_is_not() -> None:
    signal = RNG.normal(size=400)
    followed = 0.5 * signal + RNG.normal(size=400)
    assert drift_score(signal, followed).p < 0.01
    assert drift_score(-signal, followed).p > 0.95
    assert drift_score(np.roll(signal, 1), followed).p > 0.05


def test_weeks_with_a_gap_are_left_out_and_too_few_say_nothing() -> None:
    signal, followed = RNG.normal(size=100), RNG.normal(size=100)
    followed[10:20] = np.nan
    assert drift_score(signal, followed).weeks == 90
    assert drift_score(signal[:20], followed[:20]) is None


def test_one_wild_week_does_not_decide() -> None:
    signal, followed = RNG.normal(size=200), RNG.normal(size=200)
    wild = followed.copy()
    wild[7] = 1000 * np.sign(signal[7])
    bounded = followed.copy()
    bounded[7] = 3 * np.sign(signal[7])
    assert drift_score(signal, wild) == drift_score(signal, bounded)


def test_without_an_edge_bets_gain_nothing_however_large_or_often_looked_at() -> None:
    """Symmetric returns with fat tails, 4,000 records of 300 weeks: evidence of 20 is reached in at most 1 of 20."""
    tilts = 0.05 * RNG.normal(size=(4000, 300))
    returns = 0.1 * RNG.standard_t(3, size=(4000, 300))
    bets = tilts * returns / 0.04
    paths = np.exp(np.cumsum(bets - bets**2 / 2, axis=1))
    assert np.exp(bets - bets**2 / 2).mean() <= 1 + 3 * np.exp(bets - bets**2 / 2).std() / np.sqrt(bets.size)
    assert (paths.max(axis=1) >= ENOUGH).mean() <= 0.05


def test_a_bet_by_hand() -> None:
    """λ = 0.02, σ = 0.04, a week of +10 %: μy = λr/σ = 0.05, so exp(0.05 − 0.00125)."""
    assert tilt_factor(0.02, 0.04, 0.10) == pytest.approx(np.exp(0.05 - 0.05**2 / 2))
    assert tilt_factor(0.0, 0.04, 0.10) == 1.0


@pytest.mark.parametrize("sharpe", [0.5, 1.0])
def test_an_edge_is_shown_in_the_years_the_sentence_says_with_80_percent_power(sharpe: float) -> None:
    """2,000 records; the share that reaches 20 has a standard error of 0.9 points. A path seen weekly misses a few crossings."""
    weeks, mu = int(YEARS_AT_SHARPE_ONE / sharpe**2 * 52.18), sharpe / np.sqrt(52.18)
    y = mu + RNG.normal(size=(2000, weeks))
    paths = np.exp(np.cumsum(mu * y - (mu * y) ** 2 / 2, axis=1))
    assert 0.75 < (paths.max(axis=1) >= ENOUGH).mean() < 0.83


def test_a_forecast_no_better_than_its_baseline_gains_nothing() -> None:
    """Whatever the true probability between two forecasts nearer to the baseline: the mean factor is at most 1."""
    for p, q in [(0.6, 0.4), (0.9, 0.5), (0.2, 0.7), (0.05, 0.1)]:
        middle = (p + q) / 2
        for truth in (q, middle):
            mean = truth * brier_factor(p, q, 1) + (1 - truth) * brier_factor(p, q, 0)
            assert mean <= 1 + 1e-12
        assert p * brier_factor(p, q, 1) + (1 - p) * brier_factor(p, q, 0) > 1


def test_streams_do_not_overlap_and_take_the_earliest() -> None:
    assert spaced_positions([0, 1, 6, 7, 8, 14, 30], 7) == [0, 3, 5, 6]
    assert spaced_positions([], 7) == []


@pytest.mark.parametrize(
    ("drift_p", "ahead", "e_value", "grade"),
    [
        (0.04, True, 1.0, Grade.SUPPORTED),
        (0.05, True, 1.0, Grade.NOT_SHOWN),
        (0.01, False, 1.0, Grade.NOT_SHOWN),
        (None, None, 1.0, Grade.NOT_SHOWN),
        (0.9, False, 20.0, Grade.SHOWN),
        (0.01, True, 19.99, Grade.SUPPORTED),
    ],
)
def test_one_rule_decides_the_grade(drift_p: float | None, ahead: bool | None, e_value: float, grade: Grade) -> None:
    assert grade_of(drift_p, ahead, e_value) == grade
    said = evidence(drift_p, ahead, LiveEvidence("2026-01-04", 3, e_value))
    assert said.grade == grade
    assert said.sentence.lower().startswith(str(grade))


def test_the_sentence_says_both_halves_and_who_knew() -> None:
    both = evidence(0.01, True, LiveEvidence("2026-01-04", 1, 1.5)).sentence
    assert "tilted what followed (drift p 0.010), and the forecasts beat volatility alone" in both
    assert "declared by people who knew these years" in both
    assert "1.50 of 20 needed, from 1 week since 2026-01-04" in both
    one = evidence(0.20, True, LiveEvidence()).sentence
    assert "did not clearly tilt what followed (drift p 0.200), but the forecasts beat" in one
    assert "No live forecast is registered yet" in one
