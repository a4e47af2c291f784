"""How far must the percentile interval of a skill be widened to cover 95 %?

    python benchmarks/interval_coverage.py [--paths 2000] [--seed 11]

Simulates weekly forecasts of overlapping first passages of a random walk with fat tails and volatility clusters: 3 years to
learn from, 7 to be tested on. The forecasts are those of the hazard on six AR(1) inputs that know nothing, refitted each quarter,
judged against climatology and against the random walk of trailing volatility. The truth an interval should cover is the skill
expected over all paths. Prints the coverage of the plain percentile interval and the factor by which its limits must move away
from the estimate to cover 95 %.
"""

import argparse
import time

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from evaluation.bootstrap import COVERAGE, block_length, block_starts, block_sums
from models.ridge_newton import INTERCEPT_PENALTY, ridge_logit

HORIZONS = (30, 60, 90)
TRAIN_WEEKS, TEST_WEEKS, REFIT_WEEKS = 156, 364, 13
THRESHOLD, INPUTS, INPUT_WEEKS, PATHS_AT_ONCE, DRAWS = 0.30, 6, 20, 20, 2000
PENALTY = (60 / 7) / 0.3**2


def walks(paths: int, days: int, rng: np.random.Generator) -> np.ndarray:
    """Log levels (paths, days): volatility has a part that lives a month and one that lives a year, shocks are Student's t of 4."""
    log_volatility = ar1(paths, days, 30, rng) * 0.35 + ar1(paths, days, 365, rng) * 0.25
    shocks = rng.standard_t(4, size=(paths, days)) / np.sqrt(2)
    return np.cumsum(0.035 * np.exp(log_volatility) * shocks, axis=1)


def ar1(paths: int, steps: int, memory: float, rng: np.random.Generator) -> np.ndarray:
    """First-order autoregression (paths, steps) of unit variance that forgets by a factor e within `memory` steps."""
    kept = np.exp(-1 / memory)
    values = rng.normal(size=(paths, steps))
    for step in range(1, steps):
        values[:, step] = kept * values[:, step - 1] + np.sqrt(1 - kept**2) * values[:, step]
    return values


def passages(levels: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Events (paths, weeks, K): the highest of the next h closes is 30 % above today's."""
    ahead = np.stack([levels[:, days + step] for step in range(1, max(HORIZONS) + 1)])
    rise = np.maximum.accumulate(ahead, axis=0) - levels[:, days]
    return np.stack([rise[days_ahead - 1] >= np.log1p(THRESHOLD) for days_ahead in HORIZONS], axis=-1).astype(float)


def random_walk(levels: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Forecasts (paths, weeks, K) of the past 90 days' volatility alone, by the reflection principle."""
    returns = np.diff(levels, axis=1, prepend=0)
    volatility = np.stack([returns[:, day - 89 : day + 1].std(axis=1) for day in days], axis=1)[..., None]
    return 2 * norm.cdf(-(np.log1p(THRESHOLD) + 0.5826 * volatility) / (volatility * np.sqrt(HORIZONS)))


def hazard_forecasts(inputs: np.ndarray, events: np.ndarray, now: int, ahead: slice) -> np.ndarray:
    """P (paths, test weeks, K) of the hazard fitted on what was over by week `now`; the paths share their inputs."""
    K = len(HORIZONS)
    design = np.concatenate([np.hstack([np.tile(np.eye(K)[k], (now, 1)), inputs[:now]]) for k in range(K)])
    over = [np.arange(now) + (days + 1) / 7 < now for days in HORIZONS]
    before = np.concatenate([np.zeros_like(events[:, :now, :1]), events[:, :now, :-1]], axis=-1)
    at_risk = np.concatenate([(before[..., k] == 0) & over[k] for k in range(K)], axis=1).astype(float)
    outcome = np.concatenate([events[:, :now, k] for k in range(K)], axis=1)
    penalty = np.r_[np.full(K, INTERCEPT_PENALTY), np.full(inputs.shape[1], PENALTY)]
    beta = ridge_logit(design, outcome, at_risk, penalty, tolerance=1e-6)
    hazard = expit(beta[:, None, :K] + (beta[:, K:] @ inputs[ahead].T)[..., None])
    return 1 - np.cumprod(1 - hazard, axis=-1)


def climatology(events: np.ndarray, now: int, weeks: int) -> np.ndarray:
    """Base rates known at week `now`, (paths, weeks, K)."""
    rates = [events[:, : now - int(np.ceil((days + 1) / 7)), k].mean(axis=1) for k, days in enumerate(HORIZONS)]
    return np.repeat(np.stack(rates, axis=-1)[:, None, :], weeks, axis=1)


def losses(paths: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Brier losses (paths, test weeks, K) of the hazard on noise, of climatology and of the random walk."""
    weeks = TRAIN_WEEKS + TEST_WEEKS
    days = 120 + 7 * np.arange(weeks)
    levels = walks(paths, days[-1] + max(HORIZONS) + 1, rng)
    events, inputs = passages(levels, days), ar1(INPUTS, weeks, INPUT_WEEKS, rng).T
    parts: dict[str, list[np.ndarray]] = {"hazard": [], "climatology": []}
    for now in range(TRAIN_WEEKS, weeks, REFIT_WEEKS):
        ahead = slice(now, now + REFIT_WEEKS)
        parts["hazard"].append((hazard_forecasts(inputs, events, now, ahead) - events[:, ahead]) ** 2)
        parts["climatology"].append((climatology(events, now, REFIT_WEEKS) - events[:, ahead]) ** 2)
    walk = (random_walk(levels, days) - events)[:, TRAIN_WEEKS:] ** 2
    return {"random walk": walk} | {name: np.concatenate(part, axis=1) for name, part in parts.items()}


def needed_factors(loss: np.ndarray, reference: np.ndarray, days: int, rng: np.random.Generator) -> np.ndarray:
    """For each path the factor at which its interval just reaches the expected skill; at most 1 means the plain interval covers."""
    truth = 1 - loss.sum() / reference.sum()
    factors = np.empty(len(loss))
    for path, (mine, theirs) in enumerate(zip(loss, reference, strict=True)):
        block = block_length(theirs - mine, days)
        starts = block_starts(len(mine), block, DRAWS, rng)
        resampled = 1 - block_sums(mine, starts, block) / block_sums(theirs, starts, block)
        low, high = np.quantile(resampled, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
        value = 1 - mine.sum() / theirs.sum()
        factors[path] = (truth - value) / ((high if truth > value else low) - value)
    return np.where(factors < 0, np.inf, factors)


def report(loss: np.ndarray, reference: np.ndarray, what: str, days: int, rng: np.random.Generator) -> None:
    """One line a comparison."""
    skills = 1 - loss.sum(axis=1) / reference.sum(axis=1)
    factors = needed_factors(loss, reference, days, rng)
    print(
        f"{what}: expected skill {1 - loss.sum() / reference.sum():+.4f} (sd {skills.std():.4f}), "
        f"plain interval covers {np.mean(factors <= 1):.3f}, factor for 95 %: {np.quantile(factors, COVERAGE):.2f}"
    )


def main() -> None:
    """Simulate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paths", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    rng, begun = np.random.default_rng(options.seed), time.perf_counter()
    batches = [losses(PATHS_AT_ONCE, rng) for _ in range(options.paths // PATHS_AT_ONCE)]
    total = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    print(f"seed {options.seed}, {len(total['hazard'])} paths, {TEST_WEEKS} test weeks, {DRAWS} draws an interval")
    for reference in ("climatology", "random walk"):
        for k, days in enumerate(HORIZONS):
            report(total["hazard"][..., k], total[reference][..., k], f"{days} days against {reference}", days, rng)
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
