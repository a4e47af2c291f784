"""One law for every question: how high a price goes whose logarithm moves like a Brownian motion with a tilt.

Bare maths on arrays. The log price has daily volatility σ and drift μ = σλ a day; λ, a daily Sharpe ratio, is called the tilt here.
A question is a rise θ (0.3 is 30 %) within h days. Closes come once a day, which moves the barrier out: b = ln(1+θ) + 0.5826 σ.
References: Borodin and Salminen, "Handbook of Brownian Motion" (2002), formula 2.1.1.4; Broadie, Glasserman and Kou, "A continuity
correction for discrete barrier options", Mathematical Finance 7 (1997).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from core.arrays import Floats

DAILY_CLOSES = 0.5826
"""−ζ(1/2)/√(2π): a barrier watched once a day acts as one that stands this many daily standard deviations further away."""

SIGMA_UNCERTAINTY = 0.25
"""Standard deviation of ln(true σ / estimated σ): an estimate of volatility is off by about a quarter."""

NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()
LARGEST_EXPONENT = 50.0
CERTAIN = 1e-12

RISES: Floats = np.round(np.arange(0, 2.01, 0.02), 2)
"""The rises at which the curve of the highest close is computed."""


FALLS: Floats = np.round(np.arange(0, 0.99, 0.01), 2)
"""The falls among which the typical one is looked for."""


@dataclass(frozen=True)
class Question:
    """A rise (0.3 is 30 %) within each of K horizons in days; `terminal` asks for the close at the horizon, not the highest."""

    rise: float
    horizons: tuple[int, ...]
    terminal: bool = False

    @property
    def barrier(self) -> float:
        """ln(1 + rise)."""
        return float(np.log1p(self.rise))

    @property
    def days(self) -> Floats:
        """Horizons (K,) as numbers."""
        return np.asarray(self.horizons, dtype=np.float64)


def first_passage(sigma: Floats, tilt: Floats, question: Question) -> tuple[Floats, Floats]:
    """P(highest daily close within h days ≥ 1 + θ) and ∂P/∂λ, (…, K) each.

    P = Φ((μh − b)/σ√h) + exp(2μb/σ²) Φ((−b − μh)/σ√h), ∂P/∂λ = (2b/σ) exp(2λb/σ) Φ((−b − μh)/σ√h).
    sigma (…): daily, above 0; tilt λ (…): daily. The rise must not be negative.
    """
    barrier = question.barrier / sigma[..., None] + DAILY_CLOSES  # in daily standard deviations
    lam, root = tilt[..., None], np.sqrt(question.days)
    reflected = np.exp(np.minimum(2 * lam * barrier, LARGEST_EXPONENT)) * ndtr(-barrier / root - lam * root)
    return ndtr(lam * root - barrier / root) + reflected, 2 * barrier * reflected


def terminal(sigma: Floats, tilt: Floats, question: Question) -> tuple[Floats, Floats]:
    """P(close h days ahead ≥ 1 + θ) = Φ((μh − ln(1+θ))/σ√h) and ∂P/∂λ, (…, K) each. Arguments as for `first_passage`."""
    root = np.sqrt(question.days)
    toward = tilt[..., None] * root - question.barrier / (sigma[..., None] * root)
    return ndtr(toward), density(toward) * root


def probability(sigma: Floats, tilt: Floats, question: Question) -> tuple[Floats, Floats]:
    """The law of the question's kind and its derivative by λ, at one σ and λ a row."""
    return terminal(sigma, tilt, question) if question.terminal else first_passage(sigma, tilt, question)


def slope_by_log_sigma(sigma: Floats, tilt: Floats, question: Question) -> Floats:
    """∂P/∂ln σ (…, K). With L = ln(1+θ) and z = (μh − b)/σ√h, or without the correction of b for a terminal question:

    first passage: 2 φ(z) L/σ√h − (2λL/σ) exp(2λb/σ) Φ((−b − μh)/σ√h); terminal: φ(z) L/σ√h.
    """
    away, lam, root = question.barrier / sigma[..., None], tilt[..., None], np.sqrt(question.days)
    if question.terminal:
        return density(lam * root - away / root) * away / root
    barrier = away + DAILY_CLOSES
    reflected = np.exp(np.minimum(2 * lam * barrier, LARGEST_EXPONENT)) * ndtr(-barrier / root - lam * root)
    return 2 * density(lam * root - barrier / root) * away / root - 2 * lam * away * reflected


def averaged(
    function: Callable[[Floats, Floats, Question], Floats],
    sigma: Floats,
    tilt: Floats,
    question: Question,
    uncertainty: float = SIGMA_UNCERTAINTY,
) -> Floats:
    """A function of σ (…) averaged over what isn't known of it, ln σ ~ N(ln sigma, uncertainty²), by 7 Gauss–Hermite nodes."""
    parts = (
        weight * function(sigma * np.exp(uncertainty * node), tilt, question)
        for node, weight in zip(NODES, NODE_WEIGHTS, strict=True)
    )
    return np.asarray(sum(parts))


def density(z: Floats) -> Floats:
    """φ(z), the standard normal density."""
    return np.asarray(np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))


def limits(probability: Floats, sd: Floats, coverage: float) -> tuple[Floats, Floats]:
    """Low and high that hold `coverage` of what isn't known of a probability with standard deviation `sd`.

    Normal on the probit scale, so they stay within 0 and 1; the probability lies between them.
    """
    centre = ndtri(np.clip(probability, CERTAIN, 1 - CERTAIN))
    reach = ndtri((1 + coverage) / 2) * sd / density(centre)
    return np.minimum(ndtr(centre - reach), probability), np.maximum(ndtr(centre + reach), probability)


def carried_base_rates(base_rates: Floats, trained: Question, wanted: Question, sigma: float) -> Floats:
    """Base rates (K,) of one question carried over to another by the law, with no look at today: (K',).

    First passage: the total standard deviation that gives each base rate without drift, read at other horizons along a straight
    line over √h, so that the answer rises with h and falls with θ. Terminal: the drift that gives it at daily volatility `sigma`,
    read along h. At the rise and horizons first asked about the answer is the base rate itself.
    """
    inner, root, wanted_root = np.clip(base_rates, CERTAIN, 1 - CERTAIN), np.sqrt(trained.days), np.sqrt(wanted.days)
    if trained.terminal:
        drift = interpolate_line(trained.days, trained.barrier + sigma * root * ndtri(inner), wanted.days)
        return np.asarray(ndtr((drift - wanted.barrier) / (sigma * wanted_root)))
    most = 2 * ndtr(-DAILY_CLOSES / root) - CERTAIN  # a barrier at today's close is passed no oftener than this
    total = trained.barrier / (-ndtri(np.minimum(inner, most) / 2) - DAILY_CLOSES / root)
    total_sd = interpolate_line(root, np.maximum.accumulate(total), wanted_root)
    return np.asarray(2 * ndtr(-wanted.barrier / total_sd - DAILY_CLOSES / wanted_root))


def interpolate_line(places: Floats, values: Floats, wanted: Floats) -> Floats:
    """Linear interpolation (k,) of values (m,) at rising positions (m,) and 0 at 0; beyond the last, along the line from 0."""
    read = np.interp(wanted, np.append(0.0, places), np.append(0.0, values))
    return np.asarray(read * np.maximum(wanted / places[-1], 1.0))


def median_fall(sigma: float, tilt: float, days: int) -> float:
    """The fall (0.2 is 20 %) below today's close that the lowest close within `days` passes half of the time.

    A fall to 1 − y under tilt λ is a rise to 1/(1 − y) under −λ; averaged over what isn't known of the daily volatility `sigma`.
    """
    at = np.array([sigma]), np.array([-tilt])
    passed = [float(averaged(lambda *of: first_passage(*of)[0], *at, Question(fall / (1 - fall), (days,)))[0, 0]) for fall in FALLS]
    return float(np.interp(0.5, passed[::-1], FALLS[::-1]))


def quantiles_of_highest(exceeded: Floats, rises: Floats, levels: Sequence[float]) -> list[float]:
    """Quantiles of the rise of the highest close at `levels`, from P(rise ≥ x) (m,) at rising `rises` x (m,).

    0 where even a close at today's level is less likely than that; the last rise where the curve doesn't fall as low.
    """
    return [float(np.interp(1 - level, exceeded[::-1], rises[::-1])) for level in levels]
