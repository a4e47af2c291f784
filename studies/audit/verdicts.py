"""The rule that judges every line of the claim, from n, an interval and p."""

from dataclasses import dataclass

SUPPORTED, NOT_SUPPORTED = "supported", "not supported"
LEAST_N = 10
"""Least number of independent observations: below it a single event moves a share by over 10 points."""

LEVEL = 0.05
RULE = (
    f"can't be told: fewer than {LEAST_N} independent observations, or no measurement. "
    f"supported: p < {LEVEL:g}, the 95 % interval of the effect lies above 0, and the placebo, where there is one, is not as "
    f"significant (p ≥ {LEVEL:g}). "
    "not supported: else, where the interval lies below the smallest effect that the claim's words could mean (`needed`). "
    "can't be told: all else; the data allow both the claim and nothing."
)


@dataclass(frozen=True)
class Evidence:
    """Measurement of one line.

    `effect` is positive in favour of the claim, `low` and `high` are its 95 % interval, `needed` is the smallest effect that the
    claim could mean. `n`: independent observations. `p`: against no effect. `placebo_p`: of the same test with cause and effect
    exchanged. None where it can't be had; `missing` then says why.
    """

    n: int
    needed: float
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    placebo_p: float | None = None
    missing: str = ""


def verdict(evidence: Evidence) -> str:
    """Verdict by `RULE` on the evidence of one line."""
    cannot = f"can't be told (n = {evidence.n})"
    if evidence.n < LEAST_N or evidence.low is None or evidence.high is None or evidence.p is None:
        return cannot
    placebo_holds = evidence.placebo_p is None or evidence.placebo_p >= LEVEL
    if evidence.p < LEVEL and evidence.low > 0 and placebo_holds:
        return SUPPORTED
    return NOT_SUPPORTED if evidence.high < evidence.needed else cannot


@dataclass(frozen=True)
class Line:
    """One line of the claim, how it was measured, and its verdict."""

    name: str
    claim: str
    measure: str
    evidence: Evidence
    verdict: str


def with_verdict(name: str, claim: str, measure: str, evidence: Evidence) -> Line:
    """A line with its verdict."""
    return Line(name, claim, measure, evidence, verdict(evidence))
