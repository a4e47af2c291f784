"""What stands behind a forecast, in three grades: a pre-registered test of history, and evidence that grows live.

References: Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid inference", Statistical Science 38
(2023); Henzi and Ziegel, "Valid sequential inference on probability forecast performance", Biometrika 109 (2022).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from core.arrays import Floats

LEVEL = 0.05
"""Below this the drift score counts."""

ENOUGH = 20.0
"""Evidence that shows skill: were there none, it would ever be reached with a chance of at most 1 in 20."""

WEEK_DAYS = 7
NEAREST_WEEKS = 13
LARGEST_MOVE = 3.0
ROUNDING = 1e-9
YEARS_AT_SHARPE_ONE = 8.6
"""Years until bets of the right size on an edge with an annual Sharpe ratio of 1 have reached `ENOUGH` with 80 % power: it solves
Φ((T/2 − ln 20)/√T) + 20 Φ((−ln 20 − T/2)/√T) = 0.8. In general 8.6/SR² (decision 14)."""


class Grade(StrEnum):
    """How far skill is shown."""

    SHOWN = "shown live"
    SUPPORTED = "history supports it"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True)
class DriftScore:
    """Σ signal × what followed over `weeks`, and its one-sided p over circular `shifts`, of which about `independent` are."""

    score: float
    p: float
    weeks: int
    shifts: int
    independent: int


@dataclass(frozen=True)
class LiveEvidence:
    """Of one configuration: the day it was registered (None: not yet), the weeks bet on since, and the evidence they gave."""

    registered: str | None = None
    weeks: int = 0
    e_value: float = 1.0


@dataclass(frozen=True)
class Evidence:
    """The grade, what it rests on, and all of it in one sentence. `drift_p` and `ahead_of_all` are None where they can't be had."""

    grade: str
    drift_p: float | None
    ahead_of_all: bool | None
    e_value: float
    registered: str | None
    weeks: int
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def drift_score(signal: Floats, followed: Floats) -> DriftScore | None:
    """Test of whether a signal (n,), known at the end of each week, tilts the next return (n,), in standard deviations.

    Nothing is fitted. Returns are cut at ±3; weeks with a gap are left out. One is shifted against the other along the circle of
    weeks, by at least 13: p = (1 + shifts with as large a sum) / (1 + shifts). None where the weeks allow no shift.
    """
    complete = np.isfinite(signal) & np.isfinite(followed)
    s, y = signal[complete], np.clip(followed[complete], -LARGEST_MOVE, LARGEST_MOVE)
    n = len(s)
    if n < 2 * NEAREST_WEEKS:
        return None
    sums = np.fft.irfft(np.conj(np.fft.rfft(s)) * np.fft.rfft(y), n)  # of the signal against what followed k weeks later
    shifted = sums[NEAREST_WEEKS : n - NEAREST_WEEKS + 1]
    as_large = int((shifted >= sums[0] - ROUNDING * np.abs(sums).max()).sum())
    return DriftScore(float(sums[0]), (1 + as_large) / (1 + len(shifted)), n, len(shifted), n // NEAREST_WEEKS)


def tilt_factor(tilt: float, sigma: float, log_return: float) -> float:
    """Return of a bet on a tilt over one period: exp(μy − μ²y²/2); over d days μ = λ√d and y = log return / σ√d, so μy = λr/σ.

    The tilt λ and sigma σ are daily and were issued before the period. The expectation is at most 1 where returns are symmetric
    about 0 given the past, so that the product over periods that don't overlap is valid on any day.
    Reference: de la Peña, "A general class of exponential inequalities", Annals of Probability 27 (1999).
    """
    bet = tilt * log_return / sigma
    return float(np.exp(bet - bet**2 / 2))


def brier_factor(probability: float, baseline: float, event: int) -> float:
    """Likelihood ratio of one outcome for a forecast p against a baseline q: that of p over that of (p + q)/2.

    It is 1 + (Brier loss of q − that of p) / ((p + q)(2 − p − q)), so its expectation is at most 1 where q scores no worse.
    """
    middle = (probability + baseline) / 2
    return probability / middle if event else (1 - probability) / (1 - middle)


def spaced_positions(days: Sequence[int], gap: int) -> list[int]:
    """Positions of rising `days` at least `gap` days apart, chosen from the earliest on."""
    chosen: list[int] = []
    for position, day in enumerate(days):
        if not chosen or day - days[chosen[-1]] >= gap:
            chosen.append(position)
    return chosen


def grade_of(drift_p: float | None, ahead_of_all: bool | None, e_value: float) -> Grade:
    """Grade of the evidence: shown live if the e-value reaches 20, else supported by history, else not shown."""
    if e_value >= ENOUGH:
        return Grade.SHOWN
    if drift_p is not None and drift_p < LEVEL and ahead_of_all:
        return Grade.SUPPORTED
    return Grade.NOT_SHOWN


def evidence(drift_p: float | None, ahead_of_all: bool | None, live: LiveEvidence) -> Evidence:
    """Evidence of history and the live record together: grade, numbers and a sentence."""
    grade = grade_of(drift_p, ahead_of_all, live.e_value)
    sentence = f"{history_sentence(grade, drift_p, ahead_of_all)} {live_sentence(live)}"
    return Evidence(str(grade), drift_p, ahead_of_all, live.e_value, live.registered, live.weeks, sentence)


def history_sentence(grade: Grade, drift_p: float | None, ahead_of_all: bool | None) -> str:
    """Sentence with the grade and the result on past data."""
    if drift_p is None:
        return f"{str(grade).capitalize()}: there is no test on past data."
    tilts = drift_p < LEVEL
    drift = "small caps, volume and liquidity " + ("tilted" if tilts else "did not clearly tilt") + " what followed"
    ahead = "beat" if ahead_of_all else "did not beat"
    joined = "and" if tilts == bool(ahead_of_all) else "but"
    known = " The inputs were declared by people who knew these years." if grade is Grade.SUPPORTED else ""
    return (
        f"{str(grade).capitalize()}: on past data {drift} (drift p {drift_p:.3f}), {joined} the forecasts {ahead} volatility alone "
        f"and every other baseline.{known}"
    )


def live_sentence(live: LiveEvidence) -> str:
    """Sentence with the live evidence so far, and the years it may take."""
    at_one, at_half = YEARS_AT_SHARPE_ONE, 4 * YEARS_AT_SHARPE_ONE
    years = f"an edge with a Sharpe ratio of 1 would take about {at_one:.0f} years, one of 0.5 about {at_half:.0f}"
    if live.registered is None:
        return f"No live forecast is registered yet; {years}."
    weeks = f"{live.weeks} week{'' if live.weeks == 1 else 's'} since {live.registered}"
    return f"Live evidence so far: {live.e_value:.2f} of {ENOUGH:.0f} needed, from {weeks}; {years}."
